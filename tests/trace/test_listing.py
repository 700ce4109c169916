"""The runs of a folder, from their records alone."""

import json
import shutil

import pytest

import sightline as sl
from sightline.errors import RunError
from sightline.trace.records import TRACE_FILE


@pytest.fixture
def folder(fitted, tmp_path):
    """A complete run, one that was cut off, a damaged one, and what is no run."""
    place = tmp_path / "runs"
    shutil.copytree(fitted / "runs" / "a", place / "whole")
    lines = (place / "whole" / TRACE_FILE).read_bytes().splitlines(keepends=True)
    until = next(n for n, line in enumerate(lines) if b'"type": "epoch"' in line)
    later = [line.replace(b'"time": "20', b'"time": "21') for line in lines[: until + 1]]
    for name, text in (("cut", b"".join(later)), ("broken", lines[0] + b"no JSON\n" + lines[0])):
        (place / name).mkdir()
        (place / name / TRACE_FILE).write_bytes(text)
    (place / "other").mkdir()
    (place / "notes.txt").write_text("mine")
    return place


def test_the_newest_comes_first(folder):
    cut, whole, broken = sl.runs(folder)
    assert [one["run"] for one in (cut, whole, broken)] == [
        str(folder / name) for name in ("cut", "whole", "broken")
    ]
    assert (whole["state"], whole["target"], whole["metric"], whole["part"], whole["rows"]) == (
        "complete", "species", "accuracy", "test", 344,
    )  # fmt: skip
    assert whole["table"].endswith("penguins.csv")
    assert whole["value"] == sl.Run(folder / "whole").metrics["accuracy"]
    assert whole["seconds"] > 0
    assert (cut["state"], cut["value"], cut["seconds"], cut["rows"]) == (
        "interrupted",
        None,
        None,
        344,
    )
    assert (broken["state"], broken["date"]) == ("damaged", None)
    assert set(cut) == set(whole) == set(broken)


def test_no_runs(folder, tmp_path):
    assert sl.runs(folder / "other") == []
    with pytest.raises(RunError, match="There is no folder nowhere"):
        sl.runs("nowhere")
    with pytest.raises(RunError, match=r"is a run itself\. Give the folder that it is in: "):
        sl.runs(folder / "whole")


def test_on_the_command_line(folder, sightline, monkeypatch):
    monkeypatch.chdir(folder.parent)
    said = sightline("runs")
    assert (said.code, said.err) == (0, "")
    lines = [line for line in said.out.splitlines() if "runs/" in line]
    assert [name in line for name, line in zip(("cut", "whole", "broken"), lines, strict=True)] == [
        True
    ] * 3
    assert "Accuracy" in said.out
    assert "interrupted" in said.out
    assert json.loads(sightline("runs", "runs", "--json").out) == {
        "folder": "runs",
        "runs": sl.runs("runs"),
    }
    assert sightline("runs", "runs/other").out == "No run is in runs/other.\n"
    refused = sightline("runs", "nowhere")
    assert (refused.code, refused.out) == (2, "")
    assert "There is no folder nowhere." in refused.err
