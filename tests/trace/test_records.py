import errno
import json
import math
import os
import subprocess
import sys
from dataclasses import asdict

import pytest

from sightline.errors import RunError
from sightline.trace.records import TRACE_FILE, Trace, being_written, finite, read_records


def written(folder, *bodies):
    trace = Trace()
    trace.save_to(folder)
    for body in bodies:
        trace.write("train", "epoch", body)
    trace.close()
    return folder / TRACE_FILE


def line(seq, attempt=1, **changes):
    fields = {"v": 1, "seq": seq, "attempt": attempt, "time": "t", "stage": "train",
              "type": "epoch", "body": {"n": seq}}  # fmt: skip
    return json.dumps({**fields, **changes}) + "\n"


def by_hand(tmp_path, *lines):
    (tmp_path / TRACE_FILE).write_text("".join(lines), encoding="utf-8", newline="")
    return tmp_path


def test_records_come_back_as_they_were_written(tmp_path):
    seen = []
    trace = Trace([seen.append])
    trace.write("run", "start", {"name": 'é "q" \n 😀', "deep": {"list": (1, 2.5, None, True)}})
    trace.save_to(tmp_path / "run")
    trace.write("run", "end", {})
    trace.close()
    records, notes = read_records(tmp_path / "run")
    assert notes == []
    assert records == trace.records == seen
    assert [(r.v, r.seq, r.attempt, r.stage, r.type) for r in records] == [
        (1, 0, 1, "run", "start"), (1, 1, 1, "run", "end"),
    ]  # fmt: skip
    assert records[0].body["deep"] == {"list": [1, 2.5, None, True]}


def test_the_file_is_one_json_object_a_line(tmp_path):
    path = written(tmp_path / "run", {"a": "line\nend"}, {"b": 1})
    data = path.read_bytes()
    assert b"\r" not in data
    assert data.endswith(b"\n")
    assert [json.loads(part)["seq"] for part in data.splitlines()] == [0, 1]


def test_numbers_that_json_lacks_become_words(tmp_path):
    path = written(tmp_path / "run", {"x": [math.nan, math.inf, -math.inf, 1.5], "n": None})
    body = read_records(tmp_path / "run")[0][0].body
    assert body == {"x": ["NaN", "Infinity", "-Infinity", 1.5], "n": None}
    text = path.read_text()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert finite({1: (math.nan,)}) == {"1": ["NaN"]}


def test_no_folder_is_made_before_save_to(tmp_path):
    trace = Trace()
    trace.write("run", "start", {})
    trace.close()
    assert list(tmp_path.iterdir()) == []


def test_every_record_is_on_disk_at_once(tmp_path):
    trace = Trace()
    trace.save_to(tmp_path / "run")
    trace.write("run", "start", {})
    assert len(read_records(tmp_path / "run")[0]) == 1
    trace.close()


def test_a_folder_that_exists_is_left_alone(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match=r"exists already.*Choose another with --run, or remove it"):
        Trace().save_to(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot be created: Not a directory. Choose another"):
        Trace().save_to(tmp_path / "file" / "run")


def test_one_writer_alone(tmp_path):
    pytest.importorskip("fcntl", reason="Windows keeps other writers out by itself")
    trace = Trace()
    trace.save_to(tmp_path / "run")
    program = (
        "import sys; from pathlib import Path; from sightline.errors import RunError\n"
        "from sightline.trace.records import lock\n"
        "file = open(sys.argv[1], 'a')\n"
        "try: lock(file, Path('r'))\n"
        "except RunError: print('refused')\n"
        "else: print('taken')"
    )

    def second():
        command = [sys.executable, "-c", program, str(tmp_path / "run" / TRACE_FILE)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert second() == "refused"
    trace.close()
    assert second() == "taken"


def test_a_torn_last_line_is_left_out_and_reported(tmp_path):
    path = written(tmp_path / "run", {"n": 0}, {"n": 1})
    path.write_bytes(path.read_bytes()[:-7])
    records, notes = read_records(tmp_path / "run")
    assert [record.body["n"] for record in records] == [0]
    assert notes == [
        f"{path} ends with an incomplete line, which is ignored: the run was interrupted."
    ]


@pytest.mark.parametrize(
    "bad",
    ["not json\n", "\n", "[]\n", "3\n", '{"v": 1}\n', '{"seq": 1}\n', line(1, extra=1), line("1"),
     line(1, attempt=None), line(1, body=[]), line(1, v="one")],
)  # fmt: skip
def test_a_damaged_line_is_named(tmp_path, bad):
    folder = by_hand(tmp_path, line(0), bad, line(2))
    with pytest.raises(RunError, match=f"{TRACE_FILE}, line 2 is damaged .*Restore the file"):
        read_records(folder)


def test_bytes_that_are_no_text_are_damage(tmp_path):
    (tmp_path / TRACE_FILE).write_bytes(b"\xff\xfe\n")
    with pytest.raises(RunError, match="line 1 is damaged"):
        read_records(tmp_path)


def test_a_newer_version_says_to_upgrade(tmp_path):
    folder = by_hand(tmp_path, line(0), line(1, v=2, novelty=True))
    with pytest.raises(
        RunError, match=r"version 2; this Sightline reads up to 1\. Install a newer"
    ):
        read_records(folder)


def test_no_run_folder(tmp_path):
    with pytest.raises(RunError, match=f"is no run folder: it has no {TRACE_FILE}.*that fit wrote"):
        read_records(tmp_path)


def test_a_resumed_attempt_replaces_what_followed_its_start(tmp_path):
    folder = by_hand(
        tmp_path,
        *[line(seq) for seq in range(6)],
        line(3, 2, body={"n": "again 3"}),
        line(4, 2, body={"n": "again 4"}),
    )
    records, _ = read_records(folder)
    assert [(r.seq, r.attempt, r.body["n"]) for r in records] == [
        (0, 1, 0), (1, 1, 1), (2, 1, 2), (3, 2, "again 3"), (4, 2, "again 4"),
    ]  # fmt: skip


def test_a_third_attempt_may_begin_earlier_than_the_second(tmp_path):
    lines = [*[line(seq) for seq in range(5)], line(4, 2), line(5, 2), line(1, 3)]
    records, _ = read_records(by_hand(tmp_path, *lines))
    assert [(r.seq, r.attempt) for r in records] == [(0, 1), (1, 3)]


def test_an_empty_file_is_a_run_without_records(tmp_path):
    assert read_records(by_hand(tmp_path)) == ([], [])


def test_records_are_plain(tmp_path):
    record = Trace().write("a", "b", {"x": 1})
    assert set(asdict(record)) == {"v", "seq", "attempt", "time", "stage", "type", "body"}
    assert record.time.endswith("+00:00")


# ------------------------------------------------------------- a new attempt, incomplete lines


def go_on(folder, seq, *bodies):
    trace = Trace.resume(folder, seq)
    for body in bodies:
        trace.write("train", "epoch", body)
    trace.close()
    return trace


def ns(folder):
    return [record.body["n"] for record in read_records(folder)[0]]


def test_going_on_is_a_new_attempt_from_a_number_on(tmp_path):
    folder = written(tmp_path / "run", {"n": 0}, {"n": 1}, {"n": 2}).parent
    seen = []
    trace = Trace.resume(folder, 1, [seen.append])
    assert [record.body["n"] for record in trace.records] == [0]
    trace.write("train", "epoch", {"n": "new"})
    trace.close()
    assert [(r.seq, r.attempt) for r in seen] == [(1, 2)]
    assert ns(folder) == [0, "new"]
    assert go_on(folder, 2, {"n": 3}).attempt == 3
    assert ns(folder) == [0, "new", 3]
    assert len((folder / TRACE_FILE).read_bytes().splitlines()) == 5  # only ever added to


def test_going_on_without_a_record_changes_nothing(tmp_path):
    path = written(tmp_path / "run", {"n": 0}, {"n": 1})
    path.write_bytes(path.read_bytes()[:-5])
    before = path.read_bytes()
    go_on(path.parent, 1)
    assert path.read_bytes() == before


@pytest.mark.parametrize("left", [1, 5, 60])
def test_a_torn_last_line_is_closed_off_by_the_next_attempt(tmp_path, left):
    path = written(tmp_path / "run", {"n": 0}, {"n": 1}, {"n": 2})
    path.write_bytes(path.read_bytes()[:-left])
    go_on(path.parent, 1, {"n": "new"})
    records, notes = read_records(path.parent)
    assert [record.body["n"] for record in records] == [0, "new"]
    if left == 1:  # all of it but the line's end: the record is whole
        assert notes == []
    else:
        assert notes == [
            f"{path}, line 3 is incomplete and ignored: the run was interrupted there."
        ]


def test_torn_lines_one_after_the_other(tmp_path):
    path = written(tmp_path / "run", {"n": 0}, {"n": 1})
    for _ in range(3):
        path.write_bytes(path.read_bytes()[:-20])
        assert ns(path.parent) == [0]
        go_on(path.parent, 1, {"n": "new"})
        assert ns(path.parent) == [0, "new"]
    assert len(read_records(path.parent)[1]) == 3


def test_a_torn_line_is_damage_where_no_new_attempt_follows(tmp_path):
    torn = line(1)[:30] + "\n"
    for lines in (
        [line(0), torn, line(2)],
        [line(0), line(1, 2), torn, line(2, 2)],
        [line(0), torn],
    ):
        with pytest.raises(RunError, match="is damaged"):
            read_records(by_hand(tmp_path, *lines))
    assert ns(by_hand(tmp_path, line(0), torn, line(1, 2))) == [0, 1]


def test_going_on_with_an_empty_file(tmp_path):
    (tmp_path / TRACE_FILE).write_bytes(b"")
    assert go_on(tmp_path, 0, {"n": 0}).attempt == 1
    assert ns(tmp_path) == [0]


def test_going_on_without_a_run(tmp_path):
    with pytest.raises(RunError, match="is no run folder"):
        Trace.resume(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_being_written(tmp_path):
    pytest.importorskip("fcntl", reason="Windows cannot tell")
    trace = Trace()
    trace.save_to(tmp_path / "run")
    assert being_written(tmp_path / "run")
    with pytest.raises(
        RunError, match=r"Another process is making the run .*run\. Wait for its end"
    ):
        Trace.resume(tmp_path / "run", 0)
    trace.close()
    assert not being_written(tmp_path / "run")
    assert not being_written(tmp_path / "run")  # asking leaves no lock
    go_on(tmp_path / "run", 0)


# ------------------------------------------------------------- a full disk


def test_records_wait_for_room(tmp_path, monkeypatch):
    trace = Trace()
    trace.save_to(tmp_path / "run")
    trace.write("train", "epoch", {"n": 0})
    before = (tmp_path / "run" / TRACE_FILE).read_bytes()
    write = Trace._write

    def full(self, data):
        self._file.write(data[:11])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Trace, "_write", full)
        trace.write("train", "epoch", {"n": 1})
        trace.write("train", "epoch", {"n": 2})
        assert (tmp_path / "run" / TRACE_FILE).read_bytes() == before  # no half line stays
        assert len(trace.records) == 3
    assert Trace._write is write
    trace.write("train", "epoch", {"n": 3})
    assert ns(tmp_path / "run") == [0, 1, 2, 3]
    with monkeypatch.context() as patch:
        patch.setattr(Trace, "_write", full)
        trace.write("train", "epoch", {"n": 4})
    trace.close()
    assert ns(tmp_path / "run") == [0, 1, 2, 3, 4]
    assert b"\0" not in (tmp_path / "run" / TRACE_FILE).read_bytes()


def test_a_disk_that_stays_full_is_said_at_the_end(tmp_path, monkeypatch):
    trace = Trace()
    trace.save_to(tmp_path / "run")

    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Trace, "_write", full)
    trace.write("train", "epoch", {"n": 0})
    with pytest.raises(OSError, match="No space left"):
        trace.close()
    trace.close()  # it is closed


def test_other_faults_of_a_disk_are_raised_at_once(tmp_path, monkeypatch):
    trace = Trace()
    trace.save_to(tmp_path / "run")

    def broken(self, data):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(Trace, "_write", broken)
        with pytest.raises(OSError, match="Input/output"):
            trace.write("train", "epoch", {"n": 0})
    trace.close()
    assert ns(tmp_path / "run") == [0]


def test_a_disk_that_is_really_full(small_disk):
    disk = small_disk("64k")
    (disk / "stuff").write_bytes(bytes(30_000))
    trace = Trace()
    trace.save_to(disk / "run")
    for n in range(5):
        trace.write("train", "epoch", {"n": n, "text": "x" * 10_000})
    data = (disk / "run" / TRACE_FILE).read_bytes()
    assert data.endswith(b"\n")
    assert 1 <= data.count(b"\n") < 5
    (disk / "stuff").unlink()
    trace.close()
    assert ns(disk / "run") == [0, 1, 2, 3, 4]
