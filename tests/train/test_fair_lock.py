import threading
import time

from sightline.train.fair_lock import FairLock


def test_whoever_waits_gets_it_next():
    lock, order, ready = FairLock(), [], threading.Event()

    def other():
        ready.set()
        with lock:
            order.append("other")

    thread = threading.Thread(target=other)
    with lock, lock:  # a thread may take it again
        thread.start()
        ready.wait(10)
        waited = time.monotonic() + 10
        while not lock._next.locked() and time.monotonic() < waited:
            time.sleep(0.001)
        order.append("mine")
    with lock:
        order.append("mine again")
    thread.join()
    assert order == ["mine", "other", "mine again"]
