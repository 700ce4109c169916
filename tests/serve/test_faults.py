"""What happens under load when things go wrong: real processes, real signals."""

import concurrent.futures
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.page.serving import PATIENCE, until
from tests.serve.load import Load
from tests.serve.served import serving


@pytest.fixture(scope="module")
def one(rows):
    return {"rows": [{name: value for name, value in rows[0].items() if name != "species"}]}


SLOW = {"rows": [{"x": 1.5}]}


def test_a_killed_worker_loses_only_what_it_had_begun(models, one):
    with serving(models / "species.sightline", "--workers", 2, "--drain", 0) as server:
        assert len(server.workers()) == 2
        with Load(server, "predict", one, clients=6) as load:
            until(lambda: load.statuses[200] > 200)
            victim = server.workers()[0]
            os.kill(victim, signal.SIGKILL)
            until(lambda: len(server.workers()) == 2 and victim not in server.workers())
            before = load.statuses[200]
            until(lambda: load.statuses[200] > before + 500)
        assert set(load.statuses) <= {200, "lost"}
        assert load.statuses["lost"] <= 6  # at most one for each client
        assert len(server.events("died")) == 1
        # the dead process's counts are kept
        until(lambda: server.metric('sightline_requests_total{endpoint="predict",status="200"}') >= before)  # fmt: skip


def test_the_only_worker_is_replaced_too(models, one):
    with serving(models / "species.sightline", "--drain", 0) as server:
        for _ in range(2):
            (victim,) = server.workers()
            os.kill(victim, signal.SIGKILL)
            until(lambda victim=victim: victim not in server.workers())
            assert server.post("predict", one)[0] == 200  # waits until the next one has the model


def version(folder, number, source):
    path = folder / "species" / f"{number}.sightline"
    path.parent.mkdir(exist_ok=True)
    temporary = folder / ".new"
    shutil.copy(source, temporary)
    temporary.rename(path)


def test_a_new_version_takes_over_in_all_processes_at_once(models, tmp_path, one):
    version(tmp_path, 1, models / "species.sightline")
    with (
        serving("--watch", tmp_path, "--workers", 2, "--drain", 0) as server,
        Load(server, "predict/species", one, clients=4, keep=lambda answer: answer.get("version")) as load,
    ):  # fmt: skip
        until(lambda: load.statuses[200] > 100)
        for number, source in ((2, "torch.sightline"), (3, "species.sightline")):
            version(tmp_path, number, models / source)
            until(lambda number=number: load.kept and load.kept[-1][1] == str(number))
            before = load.statuses[200]
            until(lambda before=before: load.statuses[200] > before + 100)
            assert server.get("v2/models/species")[1]["versions"] == [str(number)]
            assert server.get(f"v2/models/species/versions/{number}/ready")[0] == 200
            assert server.get(f"v2/models/species/versions/{number - 1}/ready")[0] == 404
        load._stop.set()
        until(lambda: not any(thread.is_alive() for thread in load._threads))
        assert set(load.statuses) == {200}, load.statuses
        # In the order of the answers, no client goes back by more than what was under way.
        times = {}
        for when, which in sorted(load.kept):
            first, _ = times.get(which, (when, when))
            times[which] = (first, when)
        assert times["2"][0] > times["1"][0]
        assert times["1"][1] - times["2"][0] < 1  # seconds: requests that had begun
        info = 'engine="onnx",model="species"'
        lines = server.ask("GET", "metrics")[2].decode().splitlines()
        current = [line for line in lines if info in line and 'version="3"' in line]
        assert current[0].endswith(" 1.0")
        old = [line for line in lines if 'version="2"' in line]
        assert old[0].endswith(" 0.0")


def test_a_file_that_is_no_model_changes_nothing(models, tmp_path, one):
    version(tmp_path, 1, models / "species.sightline")
    with serving("--watch", tmp_path, "--drain", 0) as server:
        (tmp_path / "species" / "2.sightline").write_bytes(b"PK\x03\x04 half a file")
        shutil.copy(models / "weight.sightline", tmp_path / "weight.sightline")
        until(lambda: server.events("refused"))
        assert "2.sightline" in server.events("refused")[0]["path"]
        until(lambda: server.post("predict/weight", {"rows": [{}]})[0] == 400)  # the other one came
        status, answer = server.post("predict/species", one)
        assert (status, answer["version"]) == (200, "1")
        version(tmp_path, 2, models / "species.sightline")  # mended
        until(lambda: server.post("predict/species", one)[1]["version"] == "2")
        for path in (tmp_path / "species").iterdir():
            path.unlink()
        (tmp_path / "weight.sightline").unlink()
        until(lambda: any("holds no" in line.get("error", "") for line in server.events("refused")))
        assert server.post("predict/species", one)[0] == 200  # the last ones stay


def test_sighup_reads_the_files_again(models, tmp_path, one):
    shutil.copy(models / "species.sightline", tmp_path / "m.sightline")
    with serving(tmp_path / "m.sightline", "--drain", 0) as server:
        first = server.events("serving")[0]["models"][0]["sha256"]
        shutil.copy(models / "torch.sightline", tmp_path / "new")
        (tmp_path / "new").rename(tmp_path / "m.sightline")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: len(server.events("serving")) == 2)
        assert server.events("serving")[1]["models"][0]["sha256"] != first
        assert server.post("predict", one)[0] == 200


def test_sigterm_drains(models, one):
    with serving(models / "species.sightline", "--drain", 2) as server:
        with Load(server, "predict", one, clients=3) as load:
            until(lambda: load.statuses[200] > 50)
            server.process.send_signal(signal.SIGTERM)
            until(lambda: server.get("v2/health/ready") == (503, {"live": True, "ready": False}))
            assert server.get("v2/health/live")[0] == 200
            before = load.statuses[200]
            until(lambda: load.statuses[200] > before + 20)  # still answering
            load._stop.set()
        assert set(load.statuses) == {200}, load.statuses
        assert server.process.wait(PATIENCE) == 0


def test_requests_that_were_begun_are_finished(models):
    with (
        serving(models / "slow.sightline", "--network", f"{models / 'net.py'}:Slow", "--drain", 0) as server,
        concurrent.futures.ThreadPoolExecutor(8) as pool,
    ):  # fmt: skip
        begun = [pool.submit(server.post, "predict", SLOW) for _ in range(4)]
        time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        assert [one.result()[0] for one in begun] == [200] * 4
        assert server.process.wait(PATIENCE) == 0


def test_a_full_queue_and_a_deadline_are_errors_that_say_so(models):
    network = f"{models / 'net.py'}:Slow"
    with serving(models / "slow.sightline", "--network", network, "--queue", 2, "--batch-rows", 1, "--timeout", 0.5, "--drain", 0) as server:  # fmt: skip
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: server.ask("POST", "predict", json.dumps(SLOW)), range(12)))  # fmt: skip
            assert server.get("v2/health/live")[0] == 200
        statuses = [status for status, _, _ in answers]
        assert set(statuses) <= {200, 503, 504}
        assert {200, 503} <= set(statuses)
        refused = next(answer for answer in answers if answer[0] == 503)
        assert refused[1]["retry-after"] == "1"
        assert "2 requests wait already" in json.loads(refused[2])["error"]
    with serving(models / "slow.sightline", "--network", network, "--timeout", 0.1, "--drain", 0) as server:  # fmt: skip
        status, answer = server.post("predict", SLOW)
        assert status == 504
        assert "--timeout" in answer["error"]


def test_what_waits_is_computed_together(models):
    network = f"{models / 'net.py'}:Slow"
    with serving(models / "slow.sightline", "--network", network, "--drain", 0) as server:
        before = server.metric("sightline_batch_rows_count")
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            bad = {"rows": [{"x": "no number"}]}
            bodies = [bad if i % 5 == 0 else SLOW for i in range(20)]
            answers = list(pool.map(lambda body: server.post("predict", body), bodies))
        assert [status for status, _ in answers] == [400 if i % 5 == 0 else 200 for i in range(20)]
        assert server.metric("sightline_batch_rows_count") - before <= 8  # for 16 requests


def test_slow_clients_do_not_stop_fast_ones(models, one):
    with serving(models / "species.sightline", "--timeout", 3, "--drain", 0) as server:
        body = json.dumps(one).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        slow = []
        for i in range(200):
            connection = socket.create_connection((server.host, server.port), timeout=PATIENCE)
            connection.sendall((head + body)[: min(20 + i, len(head + body) - 1)])
            slow.append(connection)
        with Load(server, "predict", one, clients=2) as load:
            until(lambda: load.statuses[200] > 300)
        assert set(load.statuses) == {200}
        late = slow[-1]  # its head was sent whole, its body was not
        answer = late.recv(4096)
        assert b" 408 " in answer.split(b"\r\n")[0]
        for connection in slow:
            connection.close()
        assert server.post("predict", one)[0] == 200


def test_keys_are_asked_for(models, tmp_path, one):
    keys = tmp_path / "keys"
    keys.write_text("# the shop\nopen sesame\n", encoding="utf-8")
    with serving(models / "species.sightline", "--api-keys", keys, "--drain", 0, environment={"SIGHTLINE_API_KEYS": "second"}) as server:  # fmt: skip
        assert server.get("v2/health/ready")[0] == 200
        for path in ("v2", "v2/models/species", "metrics", "openapi.json", "models"):
            status, headers, answer = server.ask("GET", path)
            assert (status, list(json.loads(answer))) == (401, ["error"])
            assert headers["www-authenticate"] == "Bearer"
        for given in ("Bearer wrong", "Basic open sesame", "open sesame", "Bearer "):
            assert server.post("predict", one, Authorization=given)[0] == 401
        for given in ("Bearer open sesame", "bearer second"):
            assert server.post("predict", one, Authorization=given)[0] == 200
        assert b"island" not in server.ask("GET", "docs")[2]
        assert "sesame" not in "".join(server.log)
        document = server.get("openapi.json", Authorization="Bearer second")[1]
        assert document["components"]["securitySchemes"]


def test_memory_stays_flat_under_load(models, one):
    with serving(models / "species.sightline", "--drain", 0) as server:
        (worker,) = server.workers()
        novel = iter(range(10**9))
        with Load(server, "predict", one, clients=3) as load:
            until(lambda: load.statuses[200] > 2000)

            def ask_of_novel_islands(seconds):
                end = time.monotonic() + seconds
                while time.monotonic() < end:  # categories that were never seen, and long ones
                    row = {**one["rows"][0], "island": f"{next(novel)}" + "x" * 20_000}
                    assert server.post("predict", {"rows": [row]})[0] == 200

            ask_of_novel_islands(5)  # the first ones load what reads tables
            before = resident(worker)
            ask_of_novel_islands(25)
        assert set(load.statuses) == {200}
        assert resident(worker) - before < 30e6


def resident(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def refusal(*arguments):
    """Return what a server says that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "sightline", "serve", *map(str, arguments)],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_a_server_that_cannot_start_says_why(models, tmp_path):
    assert refusal() == (2, "Error: No model is given. Give a model, e.g. sightline serve model.sightline.\n")  # fmt: skip
    code, said = refusal(tmp_path / "no.onnx")
    assert code == 2
    assert "no.onnx does not exist" in said
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    code, said = refusal(tmp_path / "bad.onnx", "--port", 0)
    assert code == 2
    assert "bad.onnx is not an ONNX model" in said
    code, said = refusal(models / "slow.sightline", "--port", 0)
    assert code == 2
    assert "net.py" in said or "network" in said
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, said = refusal(models / "species.sightline", "--port", taken.getsockname()[1])
    assert code == 2
    assert "cannot listen" in said
    assert "no key" in refusal(models / "species.sightline", "--api-keys", os.devnull)[1]
    assert "PyTorch does not run" in refusal(models / "mixed.onnx", "--engine", "torch", "--port", 0)[1]  # fmt: skip
