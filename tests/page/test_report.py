"""The report's file: whole, small, closed."""

import hashlib
import json
import re
from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest

import sightline as sl
from sightline.contracts import Record
from sightline.page import report as made
from sightline.page import sampling, single_file
from sightline.trace.records import read_records

from .conftest import NASTY, wide_table


def embedded(page):
    return json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', page, re.S)[1])


def test_fit_writes_a_report_with_all_records(run):
    page = (run.folder / "report.html").read_text("utf-8")
    found = embedded(page)
    assert found["notes"] == []
    assert [line["seq"] for line in found["records"]] == list(range(len(run.records)))
    assert run.records[-1].body["report"] == str(run.folder / "report.html")


def test_a_report_can_be_declined(penguins, tmp_path):
    run = sl.fit(
        penguins, "species", network="MLP", epochs=1, run=tmp_path / "r", report=False, quiet=True
    )
    assert not (run.folder / "report.html").exists()
    assert run.find("predict", "rows") == []
    assert run.records[-1].body["report"] is None


def test_the_policy_admits_what_is_in_the_file_and_nothing_else(run):
    page = (run.folder / "report.html").read_text("utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    inline = re.findall(r"<style>(.*?)</style>", page, re.S)
    inline += re.findall(r"<script(?: type=\"module\")?>(.*?)</script>", page, re.S)
    assert len(inline) == 4
    for text in inline:
        digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert policy.startswith("default-src 'none'")


def test_nothing_in_the_file_is_loaded_from_anywhere(run):
    page = (run.folder / "report.html").read_text("utf-8")
    outside = re.sub(r'<script id="data".*?</script>', "", page, flags=re.S)
    assert re.findall(r'(?:src|href)="(?!data:,|#)[^"]*"', outside.split("<script>")[0]) == []
    assert re.findall(r"@import|url\(", outside) == []


def test_where_the_table_lies_is_kept_from_readers(run):
    page = (run.folder / "report.html").read_text("utf-8")
    assert "origin" in run.find("run", "start")[0].body
    assert "origin" not in embedded(page)["records"][0]["body"]
    start = run.records[0].body
    assert Path(start["source"]).is_absolute()
    assert str(Path(start["source"]).parent) not in page
    assert str(run.folder.parent) not in page
    assert "penguins.csv" in page


def test_hostile_records_cannot_leave_their_element(hostile):
    page = (hostile.folder / "report.html").read_text("utf-8")
    assert page.count("</script>") == 3
    assert "<!--<" not in page
    assert len(page.encode()) < 1_500_000
    names = [column["name"] for column in embedded(page)["records"][3]["body"]["columns"]]
    assert set(NASTY[:-1]) <= set(names)


def test_half_a_surrogate_pair_can_be_written(tmp_path):
    record = Record(1, 0, 1, "", "lesson", "insight", {"title": "\ud800", "text": "fine"})
    page = made.report([record])
    assert embedded(page)["records"][0]["body"]["title"] == "\ud800"
    page.encode()


def test_a_wide_and_long_run_stays_small(tmp_path):
    run = sl.fit(
        wide_table(),
        "answer",
        network="MLP",
        epochs=200,
        patience=None,
        run=tmp_path / "wide",
        quiet=True,
    )
    page = (run.folder / "report.html").read_bytes()
    assert len(page) < 1_500_000
    assert len(run.epochs) == 201


@pytest.mark.parametrize("columns", [3000])
def test_what_is_too_large_is_sampled_and_says_so(columns, tmp_path):
    table = wide_table(columns=columns, rows=60)
    run = sl.fit(table, "answer", network="MLP", epochs=1, run=tmp_path / "wide", quiet=True)
    page = (run.folder / "report.html").read_text("utf-8")
    assert len(page.encode()) < 1_500_000
    notes = embedded(page)["notes"]
    assert any("columns are in this report" in note for note in notes)
    for note in notes:
        assert note.startswith(("Sampled: ", "Texts of "))


def test_a_thousand_classes_fit_into_a_report(tmp_path):
    labels = np.arange(3000) % 1000
    table = {
        "x": np.random.default_rng(0).normal(size=3000),
        "label": [f"class {n}" for n in labels],
    }
    run = sl.fit(table, "label", network="MLP", epochs=1, run=tmp_path / "r", quiet=True)
    page = (run.folder / "report.html").read_text("utf-8")
    assert len(page.encode()) < 1_500_000
    assert any("26 of 1,000 classes" in note for note in embedded(page)["notes"])


def test_what_cannot_be_made_smaller_says_so(monkeypatch):
    monkeypatch.setattr(made, "REPORT_BYTES", 1000)
    record = Record(1, 0, 1, "", "lesson", "insight", {"title": "t", "text": "x"})
    assert "everything that can be left out" in embedded(made.report([record]))["notes"][-1]


def test_sampling_keeps_the_first_and_the_last():
    lines = [{"stage": "train", "type": "epoch", "body": {"number": n}} for n in range(1001)]
    kept, note = sampling.every(lines, "train", "epoch", 500, "epochs")
    assert [line["body"]["number"] for line in kept][:: len(kept) - 1] == [0, 1000]
    assert len(kept) == 500
    assert note.startswith("Sampled: 500 of 1,001 epochs")


def test_every_module_of_the_front_end_is_in_the_bundle():
    names = {path.stem for path in single_file.STATIC.glob("*.js")} - {"uplot.min"}
    assert {name for name in names if f"modules.{name} = (" in single_file.bundle()} == names
    assert "\nimport " not in single_file.bundle()
    assert "\nexport " not in single_file.bundle()


def test_the_front_end_is_small():
    assert sum(path.stat().st_size for path in single_file.STATIC.iterdir()) < 220_000


def test_the_front_end_parses_no_html():
    for path in single_file.STATIC.glob("*.js"):
        if path.name != "uplot.min.js":
            text = path.read_text("utf-8")
            for way in (
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
            ):
                assert way not in text, f"{way} in {path.name}"


def test_the_command_writes_a_report_where_it_is_told(sightline, run, tmp_path):
    said = sightline("report", run.folder, "-o", tmp_path / "mail.html")
    assert said.code == 0
    assert "mail.html" in said.out
    lines = (run.folder / "trace.jsonl").read_bytes().count(b"\n")
    assert len(embedded((tmp_path / "mail.html").read_text("utf-8"))["records"]) == lines


def test_a_report_of_a_cut_off_run_has_what_there_is(run, tmp_path):
    folder = tmp_path / "cut"
    folder.mkdir()
    lines = (run.folder / "trace.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "trace.jsonl").write_bytes(b"".join(lines[:20]) + b'{"torn')
    written = made.write_report(folder)
    assert len(embedded(written.read_text("utf-8"))["records"]) == 20


@pytest.mark.parametrize(
    ("output", "problem"),
    [("report.pdf", "does not end in .html"), ("nowhere/report.html", "does not exist")],
)
def test_places_that_cannot_be(sightline, run, tmp_path, output, problem):
    said = sightline("report", run.folder, "-o", tmp_path / output)
    assert said.code == 2
    assert problem in said.err


def test_no_run_no_report(sightline, tmp_path):
    said = sightline("report", tmp_path)
    assert said.code == 2
    assert "is no run folder" in said.err
    assert not Path(tmp_path / "report.html").exists()


def test_a_full_disk_keeps_the_old_report(run, small_disk):
    disk = small_disk("64k")
    (disk / "report.html").write_text("the old one")
    with pytest.raises(OSError, match="No space"):
        made.write_report(run.folder, disk / "report.html")
    assert (disk / "report.html").read_text() == "the old one"


def test_runs_side_by_side(sightline, run, regression, tmp_path):
    page = tmp_path / "compare.html"
    said = sightline("compare", run.folder, regression.folder, "--page", "-o", page)
    assert said.code == 0
    found = embedded(page.read_text("utf-8"))["compare"]
    assert len(found["runs"]) == 2
    assert [len(epochs) for epochs in found["epochs"]] == [13, 7]
    assert found["settings"]["split.target"] == ["species", "body_mass_g"]


def test_records_are_those_of_the_last_attempt(run, tmp_path):
    folder = tmp_path / "again"
    folder.mkdir()
    lines = [
        json.loads(line) for line in (run.folder / "trace.jsonl").read_text("utf-8").splitlines()
    ]
    second = [{**line, "attempt": 2} for line in lines[10:]]
    text = "".join(json.dumps(line) + "\n" for line in [*lines[:15], *second])
    (folder / "trace.jsonl").write_text(text)
    records, _ = read_records(folder)
    found = embedded(made.write_report(folder).read_text("utf-8"))["records"]
    assert [(line["seq"], line["attempt"]) for line in found] == [
        (r.seq, r.attempt) for r in records
    ]
