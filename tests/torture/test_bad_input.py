"""Bad input through the real command line: exit code 2, one message, nothing left behind."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

GOOD = "x,z,y\n" + "".join(f"{i % 7}.5,{i % 5},{'ab'[i % 2]}\n" for i in range(200))

CASES: list[tuple[list[str], list[str]]] = [
    (["inspect", "nowhere.xyz"], ["nowhere.xyz does not exist", "Check the path"]),
    (["inspect", "empty.csv"], ["empty.csv is empty", "Give a file"]),
    (["inspect", "binary.csv"], ["binary.csv is a binary file", "Give a CSV"]),
    (["inspect", "latin.csv"], ["not utf-8 text", "--encoding cp1252"]),
    (["inspect", "folder"], ["a folder with no CSV", "Give a file"]),
    (["inspect", "ragged.csv"], ["ragged.csv, line 3", "--on-bad-rows skip"]),
    (["inspect", "open.csv"], ["open.csv, line 2", "Close the quote"]),
    (["inspect", "letter.csv"], ["line 70,001", "column 'a'", "'7o'", "--on-bad-rows skip"]),
    (["inspect", "good.csv", "--kind", "x=numbr"], ["'numbr'", "Did you mean 'numeric'"]),
    (["fit", "header.csv", "--target", "b", "--run", "r"], ["header but no rows"]),
    (["fit", "good.csv", "--target", "why", "--run", "r"], ["no column 'why'", "columns are"]),
    (["fit", "one.csv", "--target", "y", "--run", "r"], ["only one class", "Choose another"]),
    (["fit", "good.csv", "--target", "y", "--valid", "200", "--run", "r"], ["leaves none to train on", "rows"]),
    (["fit", "good.csv", "--target", "y", "--run", "taken"], ["taken", "another"]),
]  # fmt: skip


def run(folder: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sightline", *arguments],
        cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip


def test_bad_input_is_refused_in_one_message_and_leaves_nothing(tmp_path: Path) -> None:
    letter = ["a,b", *["1,x", "2,y"] * 34_999, "3,x", "7o,x", "1,x"]
    for name, content in {
        "good.csv": GOOD, "empty.csv": "", "header.csv": "a,b\n", "ragged.csv": "a,b\n1,2\n3\n",
        "open.csv": 'a,b\n1,"x\n2,y\n', "letter.csv": "\n".join(letter),
        "one.csv": GOOD.replace("b\n", "a\n"),
    }.items():  # fmt: skip
        (tmp_path / name).write_text(content)
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    (tmp_path / "latin.csv").write_bytes("a,b\nblå,1\n".encode("latin-1"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("keep me")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}

    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda case: run(tmp_path, case[0]), CASES))

    for (arguments, said), done in zip(CASES, ended, strict=True):
        told = f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == 2, told
        assert "Traceback" not in done.stderr, told
        assert all(part in done.stderr for part in said), told
        assert done.stderr.startswith("Error: "), told
        assert len(done.stderr.strip().splitlines()) == 1, told
        assert done.stderr.strip().endswith((".", "?")), told
    after = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    assert after == before


def test_bad_rows_are_skipped_when_asked(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "1,x\n2,y\n" * 100 + "q,x\n3\n")
    done = run(tmp_path, ["inspect", "t.csv", "--on-bad-rows", "skip", "--json"])
    assert done.returncode == 0, done.stderr
    assert '"rows": 200' in done.stdout
    assert '"skipped": 2' in done.stdout
