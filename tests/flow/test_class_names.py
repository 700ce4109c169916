"""A class has one spelling, that of the training file, in every output."""

import csv
import json
import random
import re

import pytest

import sightline as sl
from sightline.cli.main import cli
from sightline.errors import OptionError

SPELLINGS = {
    "upper": ("FALSE", "TRUE"),
    "mixed": ("No", "Yes"),
    "floats": ("0.0", "1.0"),
    "zeros": ("01", "02"),
}
USUAL = re.compile(r"\b(True|False|true|false)\b")


def file(path, low, high, rows=200):
    draw = random.Random(1)
    lines = []
    for _ in range(rows):
        x = draw.gauss(0, 1)
        y = high if x + draw.gauss(0, 0.7) > 0 else low
        lines.append(f"{x:.3f},{draw.choice('abc')},{y}")
    path.write_text("\n".join(["x,z,y", *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=SPELLINGS)
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    path = file(folder / "data.csv", *SPELLINGS[request.param])
    run = sl.fit(path, "y", network="MLP", epochs=2, run=folder / "run", quiet=True,
                 positive=SPELLINGS[request.param][0], class_weights={SPELLINGS[request.param][1]: 2})  # fmt: skip
    return path, run, SPELLINGS[request.param]


def test_records_write_classes_as_the_file_does(made):
    _, run, names = made
    body = {kind: run.find("predict", kind)[-1].body for kind in
            ("metrics", "example", "worst", "rows", "dependence", "curves")}  # fmt: skip
    assert [row["class"] for row in body["metrics"]["classes"]] == list(names)
    assert body["metrics"]["positive"] == names[0]
    explanation = body["example"]["explanation"]
    assert list(explanation["classes"]) == list(names)
    assert {body["example"]["truth"], explanation["prediction"], explanation["pushes"]["of"]} <= {
        *names
    }
    for kind in ("worst", "rows"):
        assert {row["truth"] for row in body[kind]["rows"]} == set(names)
    assert {row["explanation"]["prediction"] for row in body["rows"]["rows"]} == set(names)
    assert body["dependence"]["outputs"] == list(names)
    assert [curve["class"] for curve in body["curves"]["roc"]] == [names[0]]


def test_no_sentence_writes_them_in_another_way(made, capsys):
    path, run, names = made
    texts = [
        json.dumps(r.body, default=str) for r in run.records if r.stage in ("lesson", "predict")
    ]
    folder = str(run.folder)
    cli(["quiz", folder, "--json"], standalone_mode=False)
    cli(["explain", f"{folder}/model.sightline", str(path), "--row", "3"], standalone_mode=False)
    printed = capsys.readouterr().out
    found = [
        text for text in (*texts, printed) for name in names if re.search(rf"\b{name}\b", text)
    ]
    assert found
    if names == SPELLINGS["upper"]:
        sentences = [text for record in run.records if record.stage == "lesson" for text in strings(record.body)
                     if "sl." not in text and "import" not in text]  # fmt: skip
        sentences = [text for text in sentences if "p(true class)" not in text]  # of the formula
        assert not [text for text in sentences if USUAL.search(text)]
        assert not re.search(r"\b(True|False)\b", printed)


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from strings(each)


def test_files_records_and_explanations_agree(made, tmp_path, capsys):
    path, run, names = made
    cli(["predict", f"{run.folder}/model.sightline", str(path), "-o", str(tmp_path / "p.csv")],
        standalone_mode=False)  # fmt: skip
    with open(tmp_path / "p.csv", newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert list(rows[0]) == ["prediction", *(f"probability_{name}" for name in names)]
    rows_of_run = run.find("predict", "rows")[0].body["rows"]
    for row in rows_of_run:
        assert str(row["explanation"]["prediction"]) == rows[row["row"]]["prediction"]


def test_a_class_may_be_named_as_the_file_or_python_writes_it(tmp_path):
    path = file(tmp_path / "data.csv", "FALSE", "TRUE")
    for positive in ("FALSE", "False", "false", False):
        assert sl.split(sl.read(path), "y", positive=positive).target.positive is False
    with pytest.raises(OptionError, match="'Falsch'"):
        sl.split(sl.read(path), "y", positive="Falsch")
    with pytest.raises(OptionError, match="class_weights names 'WAHR'"):
        sl.fit(path, "y", network="MLP", epochs=1, class_weights={"WAHR": 2}, quiet=True)


def test_the_first_stage_writes_the_targets_values_as_the_file_does(made):
    _, run, (low, high) = made
    (column,) = [
        column for column in run.find("load", "table")[-1].body["columns"] if column["name"] == "y"
    ]
    drawn = column["histogram"]
    if drawn["kind"] == "names":
        counts = dict(zip(drawn["names"], drawn["counts"], strict=True))
        assert set(counts) == {low, high}
        assert {f"{name} {count}" for name, count in counts.items()} == {
            *column["values"].split(" (")[0].split(", ")
        }
    else:
        assert column["values"] == f"{low} to {high}"
        assert (drawn["low"], drawn["high"]) == (low, high)
