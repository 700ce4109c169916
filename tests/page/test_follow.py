"""Following a trace that grows: whole lines, damage, torn ends, and the state of the run."""

import json
import shutil
import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.page import follow as module
from sightline.page.follow import Follower, RunState
from sightline.trace.records import TRACE_FILE, Trace, read_records


def line(seq=0, attempt=1, **changes):
    record = {"v": 1, "seq": seq, "attempt": attempt, "time": "t", "stage": "train", "type": "epoch",
              "body": {"number": seq, "said": "größer 🌱"}}  # fmt: skip
    return json.dumps({**record, **changes}, ensure_ascii=False).encode() + b"\n"


@pytest.fixture
def run(tmp_path):
    (tmp_path / TRACE_FILE).touch()
    return tmp_path


def add(run, *data):
    with (run / TRACE_FILE).open("ab") as file:
        for part in data:
            file.write(part)


def seqs(found):
    return [record["seq"] for record in found.parsed]


def test_records_come_once_and_in_order(run):
    follower = Follower(run)
    assert (follower.read().parsed, follower.read().end) == ((), 0)
    add(run, line(0), line(1))
    found = follower.read()
    assert seqs(found) == [0, 1]
    assert b"".join(text + b"\n" for text in found.records) == (run / TRACE_FILE).read_bytes()
    assert found.end == (run / TRACE_FILE).stat().st_size
    assert follower.read().records == ()
    add(run, line(2))
    assert seqs(follower.read()) == [2]


def test_a_folder_that_is_not_there_yet(tmp_path):
    follower = Follower(tmp_path / "later")
    assert follower.read().records == ()
    (tmp_path / "later").mkdir()
    add(tmp_path / "later", line(0))
    assert seqs(follower.read()) == [0]


def test_a_torn_last_line_waits_until_it_is_whole(run):
    follower, whole = Follower(run), line(1)
    add(run, line(0), whole[:20])
    assert seqs(follower.read()) == [0]
    assert follower.read().problems == ()
    add(run, whole[20:])
    assert seqs(follower.read()) == [1]


@pytest.mark.parametrize("position", [-1, 5, 10**6, 10**18])
def test_a_position_that_is_no_beginning_of_a_line_means_the_start(run, position):
    add(run, line(0), line(1))
    assert seqs(Follower(run, position).read()) == [0, 1]


def test_another_position(run):
    add(run, line(0), line(1))
    follower = Follower(run, len(line(0)))
    assert seqs(follower.read()) == [1]
    assert Follower(run, (run / TRACE_FILE).stat().st_size).read().records == ()


BAD = [b"{", b"[]", b"3", b"\xff\xfe", b"", b"[" * 50, line(9)[:-9], line(9, body=3).strip(),
       line(9, attempt="1").strip(), line(9, stage=None).strip(), line(9, v=99).strip(),
       line(9).strip().replace(b'"number": 9', b'"number": NaN')]  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_a_damaged_line_in_the_middle_is_told_of_and_left_out(run, bad):
    add(run, line(0), bad, b"\n", line(1))
    found = Follower(run).read()
    assert seqs(found) == [0, 1]
    (sentence,) = found.problems
    assert f"the line that ends at byte {len(line(0)) + len(bad) + 1}, is damaged" in sentence
    assert "repeat the run" in sentence


def test_a_damaged_line_at_the_end_is_told_of_once_nobody_goes_on(run):
    follower = Follower(run)
    add(run, line(0), b"{\n")
    found = follower.read()
    assert (seqs(found), found.end) == ([0], len(line(0)))  # who comes back hears of it again
    said = [follower.read().problems for _ in range(4)]
    assert [len(sentences) for sentences in said] == [0, 1, 0, 0]


def test_the_torn_line_of_a_killed_process_is_no_damage(run):
    follower = Follower(run)
    add(run, line(0), line(1)[:30])
    assert seqs(follower.read()) == [0]
    add(run, b"\n", line(1, attempt=2))
    found = follower.read()
    assert (seqs(found), found.problems) == ([1], ())


def test_a_carriage_return_between_values_ends_no_event(run):
    add(run, line(0).replace(b'"v": 1,', b'"v": 1,\r'))
    (text,) = Follower(run).read().records
    assert b"\r" not in text
    assert json.loads(text)["v"] == 1


def test_a_file_that_was_made_anew_is_read_from_the_start(run):
    follower = Follower(run)
    add(run, line(0), line(1))
    follower.read()
    (run / TRACE_FILE).write_bytes(line(5))
    assert seqs(follower.read()) == [5]


def test_a_line_longer_than_a_chunk(run, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 64)
    add(run, line(0), line(1, body={"x": "y" * 10_000}), line(2))
    follower, found = Follower(run), []
    for _ in range(10):
        found += seqs(follower.read())
    assert found == [0, 1, 2]


@given(
    cuts=st.lists(st.integers(0, 1500), max_size=8),
    chunk=st.integers(1, 400),
    comes_back=st.booleans(),
)
def test_however_it_is_cut_every_record_comes_once(tmp_path_factory, cuts, chunk, comes_back):
    run = tmp_path_factory.mktemp("run")
    whole = b"".join(line(seq, body={"x": "é" * (seq * 7)}) for seq in range(8))
    (run / TRACE_FILE).touch()
    follower, found, end, kept = Follower(run), [], 0, module.CHUNK_BYTES
    module.CHUNK_BYTES = chunk
    try:
        places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
        for a, b in pairwise(places):
            add(run, whole[a:b])
            for _ in range(20):
                look = follower.read()
                assert look.problems == ()
                found += look.records
                end = look.end
            if comes_back:  # a tab that reconnects with the id of what came last
                follower = Follower(run, end)
    finally:
        module.CHUNK_BYTES = kept
    assert b"".join(text + b"\n" for text in found) == whole


# ------------------------------------------------------------- the state


def test_state_of_a_run_that_is_waited_for_made_paused_and_over(tmp_path):
    run, trace = tmp_path / "r", Trace()
    state = RunState(run)

    def now():
        return {name for name, value in state.now(fresh=True).items() if value is True}

    assert state.now() == {"training": False, "paused": False, "waiting": True, "run": "r"}
    assert now() == {"waiting"}
    trace.save_to(run)
    assert now() == {"training"}
    trace.write("train", "paused", {"step": 1, "epoch": 1, "said": "paused"})
    assert now() == {"training", "paused"}
    trace.write("train", "continued", {"step": 1, "epoch": 1, "said": "goes on"})
    assert now() == {"training"}
    trace.write("train", "paused", {"step": 2, "epoch": 1, "said": "paused"})
    trace.close()  # the process is gone
    assert now() == set()
    trace = Trace.resume(run, 1)
    trace.write("train", "plan", {})
    assert now() == {"training"}  # a new attempt is not paused
    trace.write("train", "end", {"steps": 2})
    assert state.trained is None
    assert now() == {"training"}
    assert state.trained == {"steps": 2}
    assert not state.ended
    trace.write("run", "end", {})
    trace.close()
    assert now() == set()
    assert state.ended
    shutil.rmtree(run)
    assert now() == {"waiting"}


def test_an_answer_behind_the_end_makes_no_new_training_of_it(tmp_path):
    trace = Trace()
    trace.save_to(tmp_path / "r")
    trace.write("train", "end", {"steps": 2})
    trace.close()
    trace = Trace.resume(tmp_path / "r", None)
    trace.write("predict", "asked", {"id": "1"})
    trace.close()
    state = RunState(tmp_path / "r")
    state.now()
    assert state.trained == {"steps": 2}
    assert [record.seq for record in read_records(tmp_path / "r")[0]] == [0, 1]


def test_the_state_is_asked_for_only_now_and_then(tmp_path, monkeypatch):
    now, asked = [100.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    state = RunState(tmp_path)
    monkeypatch.setattr(state, "_catch_up", lambda: asked.append(now[0]))
    (tmp_path / TRACE_FILE).touch()
    for now[0] in (100.0, 100.1, 100.25, 100.3, 100.5):
        state.now()
    assert asked == [100.0, 100.25, 100.5]


def test_looking_does_not_keep_a_writer_out(tmp_path):
    """`being_written` holds the lock for a moment: who comes just then must not be refused."""
    trace = Trace()
    trace.save_to(tmp_path / "r")
    trace.write("train", "plan", {})
    trace.close()
    state, over = RunState(tmp_path / "r"), threading.Event()

    def look():
        while not over.is_set():
            state.now(fresh=True)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(200):
            Trace.resume(tmp_path / "r", None).close()
    finally:
        over.set()
        looker.join()
