"""The command line, in-process; tests/flow starts it for real."""

import csv
import importlib.util
import json
import warnings
from pathlib import Path

import pytest

import sightline as sl
from sightline.errors import Interrupted

COMMANDS = ["demo", "fit", "resume", "replay", "edit", "compare", "predict", "evaluate", "explain",
            "importance",
            "inspect", "live", "quiz", "report"]  # fmt: skip


@pytest.fixture
def here(fitted, monkeypatch):
    monkeypatch.chdir(fitted)
    return fitted


def refused(said, *parts):
    """Exit code 2, one short message with these parts, no traceback, nothing on stdout."""
    assert said.code == 2, said
    assert said.out == ""
    assert "Traceback" not in said.err
    for part in parts:
        assert part in said.err, (part, said.err)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(sightline, command):
    said = sightline(command, "--help")
    assert said.code == 0
    assert f"Usage: sightline {command}" in said.out
    assert said.err == ""


def test_help_lists_every_command(sightline):
    said = sightline("-h")
    assert said.code == 0
    assert all(f"\n  {command} " in said.out for command in COMMANDS)
    assert sightline("--version").out.startswith("sightline, version ")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["fitt"], ["No such command 'fitt'. Did you mean 'fit'? The commands are: "]),
        (["\x1b[31m"], ["No such command '\\x1b[31m'"]),
        (["fit", "penguins.csv", "--taget", "x"], ["--taget", "--target"]),
        (["fit", "penguins.csv"], ["Missing option '--target'"]),
        (["fit", "penguins.csv", "--target", "specie"], ["'specie'", "Did you mean 'species'?"]),
        (["fit", "penguins.csv", "--target", "species", "--group", "iland"], ["'island'"]),
        (["fit", "penguins.csv", "--target", "species", "--task", "clasification"],
         ["classification", "regression"]),
        (["fit", "penguins.csv", "--target", "species", "--valid", "nan"],
         ["'nan' is neither a share, nor a number of rows, nor a file."]),
        (["fit", "penguins.csv", "--target", "species", "--test", "1e999"], ["neither a share"]),
        (["fit", "penguins.csv", "--target", "species", "--seed", "-1"], ["seed is -1"]),
        (["fit", "penguins.csv", "--target", "species", "--epochs", "0"], ["epochs is 0"]),
        (["fit", "penguins.csv", "--target", "species", "--batch-size", "0"], ["batch_size is 0"]),
        (["fit", "penguins.csv", "--target", "species", "--patience", "0"], ["patience is 0"]),
        (["fit", "penguins.csv", "--target", "species", "--device", "gpu"], ["'gpu' cannot be used"]),
        (["fit", "penguins.csv", "--target", "species", "--run", "runs/a"], ["runs/a exists already"]),
        (["fit", "penguins.csv", "--target", "species", "--network", "net.py"], ["file.py:Class"]),
        (["fit", "nothing.csv", "--target", "y"], ["nothing.csv"]),
        (["fit", "penguins.csv", "--target", "species", "--kind", "year"], ["COLUMN=KIND"]),
        (["fit", "penguins.csv", "--target", "species", "--kind", "=text"], ["COLUMN=KIND"]),
        (["fit", "penguins.csv", "--target", "species", "--kind", "yeer=text"], ["'year'"]),
        (["inspect", "penguins.csv", "--kind", "year=numerc"], ["numerc", "numeric"]),
        (["inspect", "penguins.csv", "--drop", "iland"], ["Did you mean 'island'?"]),
        (["inspect", "penguins.csv", "--drop", "a\nb"], ["as in a CSV header"]),
        (["inspect", "penguins.csv", "--on-bad-rows", "skp"], ["skip"]),
        (["inspect", "no.sightline"], ["no.sightline"]),
        (["predict", "runs/a", "penguins.csv", "--keep", "yeer"], ["Did you mean 'year'?"]),
        (["predict", "runs/a", "penguins.csv", "-o", "out.txt"], ["neither .csv nor .parquet"]),
        (["predict", "runs/a", "penguins.csv", "-o", "penguins.csv"], ["penguins.csv is the rows to predict"]),
        (["predict", "runs/a/model.sightline", "penguins.csv", "-o", "runs/a/model.sightline"], ["is the model, which"]),
        (["predict", "runs/a", "penguins.csv", "-o", "no/out.csv"], ["folder no does not exist"]),
        (["predict", "runs/a", "penguins.csv", "--keep", "year,year"], ["written twice"]),
        (["predict", "nothing", "penguins.csv"], ["nothing"]),
        (["explain", "runs/a", "penguins.csv", "--row", "344"], ["no row 344", "0 to 343"]),
        (["explain", "runs/a", "penguins.csv", "--row", "-1"], ["no row -1"]),
        (["quiz", "nowhere"], ["nowhere is no run folder"]),
        (["report", "nowhere", "--png", "new"], ["nowhere is no run folder"]),
        (["report", "runs/a", "--png", "penguins.csv"], ["penguins.csv: File exists"]),
        (["resume", "nowhere"], ["nowhere is no run folder"]),
        (["resume", "runs/a", "--checkpoint-epochs", "0"], ["checkpoint_epochs is 0"]),
        (["replay", "nowhere"], ["nowhere is no run folder"]),
        (["replay", "runs/a", "--to", "runs/a"], ["runs/a exists already"]),
        (["compare", "runs/a", "nowhere"], ["nowhere is no run folder"]),
        (["edit", "nowhere", "--stop"], ["nowhere is no run folder"]),
        (["edit", "runs/a", "--stop"], ["No process is training the run runs/a", "while the run trains"]),
        (["edit", "runs/a"], ["No edit is given. Give one, such as --widen hidden.0=128."]),
        (["edit", "runs/a", "--pause"], ["No process is training the run runs/a"]),
        (["edit", "runs/a", "--pause", "--continue"], ["--pause, --continue, --one-epoch and edits are given together. Give one"]),
        (["edit", "runs/a", "--one-epoch", "--stop"], ["are given together"]),
        (["live", "nowhere"], ["nowhere is no run folder"]),
        (["live", "runs/a", "--port", "65536"], ["65536"]),
        (["live", "runs/a", "--host", "no.such.host.invalid"], ["The page cannot be served at no.such.host.invalid, port any"]),
        (["edit", "runs/a", "--widen", "hidden.0"], ["--widen 'hidden.0' is not of the form LAYER=UNITS. Write LAYER=UNITS"]),
        (["edit", "runs/a", "--widen", "=3"], ["--widen '=3' is not of the form"]),
        (["edit", "runs/a", "--widen", "hidden.0=-3"], ["--widen 'hidden.0=-3' is not of the form"]),
        (["edit", "runs/a", "--widen", "hidden.0=\u00b2"], ["Write LAYER=UNITS"]),
        (["edit", "runs/a", "--replace", "hidden.0"], ["--replace 'hidden.0' is not of the form MODULE=TEXT. Write MODULE=TEXT"]),
        (["edit", "runs/a", "--batch-size", "x"], ["'x' is not a valid integer"]),
        (["fit", "penguins.csv", "--target", "species", "--optimizer", "adam"], ["adamw", "muon"]),
        (["fit", "penguins.csv", "--target", "species", "--schedule", "cos"], ["one-cycle"]),
        (["fit", "penguins.csv", "--target", "species", "--ema", "1"], ["ema is 1.0"]),
        (["fit", "penguins.csv", "--target", "species", "--warm-up", "2"], ["warm_up is 2.0"]),
        (["fit", "penguins.csv", "--target", "species", "--clip-norm", "0"], ["clip_norm is 0.0"]),
        (["fit", "penguins.csv", "--target", "species", "--time-limit", "nan"], ["time_limit is nan"]),
        (["fit", "penguins.csv", "--target", "species", "--watch"], ["needs a network that is given as a file"]),
        (["fit", "penguins.csv", "--target", "species", "--weight", "island"], ["a weight is a number"]),
        (["fit", "penguins.csv", "--target", "body_mass_g", "--balanced", "--quiet"], ["class_weights are for classes"]),
        (["fit", "penguins.csv", "--target", "species", "--checkpoint-seconds", "-1"],
         ["checkpoint_seconds is -1"]),
        (["demo", "--seed", "-1"], ["seed is -1"]),
        (["demo", "--run", "runs/a"], ["exists already"]),
        (["demo", "--lesson", "leakage", "--run", "runs/a"], ["exists already"]),
        (["demo", "--lesson", "leakige"], ["There is no lesson 'leakige'", "Did you mean 'leakage'?", "'label-noise'"]),
        (["demo", "--lesson", "leakage", "--live"], ["--live shows one run", "Leave out --live"]),
        (["demo", "--lesson", "leakage", "--seed", "-1"], ["seed is -1"]),
    ],
)  # fmt: skip
def test_mistakes_say_what_to_do(sightline, here, arguments, parts):
    before = sorted(here.rglob("*"))
    refused(sightline(*arguments), *parts)
    assert sorted(here.rglob("*")) == before


def test_a_lesson_prints_itself_in_short_or_as_json(sightline, tmp_path):
    said = sightline("demo", "--lesson", "leakage", "--run", tmp_path / "a", "--seed", "1")
    assert (said.code, said.err) == (0, "")
    for part in (
        "A column that knows the answer.",
        "refund alone predicts customer",
        "changed: read.drop: [] -> ['refund']",
        "3. How can",
    ):
        assert part in said.out
    assert "Other lessons: sightline demo --lesson overfitting | " in said.out
    assert (tmp_path / "a" / "lesson.html").is_file()
    said = sightline("demo", "--lesson", "leakage", "--run", tmp_path / "b", "--json")
    body = json.loads(said.out)
    assert [one["name"] for one in body["sides"]] == ["fault", "cure"]
    assert body["page"] == str(tmp_path / "b" / "lesson.html")
    assert (body["lesson"], len(body["questions"])) == ("leakage", 3)
    quiet = sightline("demo", "--lesson", "leakage", "--run", tmp_path / "c", "--quiet")
    assert quiet == (0, "", "")


def test_the_help_of_demo_names_every_lesson(sightline):
    from sightline.lesson.faults import FAULTS

    said = " ".join(sightline("demo", "--help").out.split())
    assert [name for name in FAULTS if name not in said] == []


def test_without_a_command_there_is_help(sightline):
    said = sightline()
    assert said.code == 2
    assert "Commands:" in said.out + said.err


def test_quiet_prints_nothing(sightline, here, tmp_path):
    arguments = ["penguins.csv", "--target", "species", "--epochs", "1", "--run", tmp_path / "r"]
    assert sightline("fit", *arguments, "--quiet") == (0, "", "")
    assert (tmp_path / "r" / "model.sightline").is_file()
    assert sightline("demo", "--run", tmp_path / "d", "--quiet") == (0, "", "")
    assert sightline("evaluate", "runs/a", "--quiet") == (0, "", "")
    output = tmp_path / "out.csv"
    assert sightline("predict", "runs/a", "penguins.csv", "-o", output, "--quiet") == (0, "", "")
    assert len(output.read_text().splitlines()) == 345


def test_inspect_a_file(sightline, here):
    said = sightline("inspect", "penguins.csv")
    assert said.code == 0
    assert "344 rows x 8 columns" in said.out
    assert "bill_length_mm" in said.out.replace("\n", "")
    found = json.loads(sightline("inspect", "penguins.csv", "--json").out)
    assert found["rows"] == 344
    kinds = {column["name"]: column["kind"] for column in found["columns"]}
    assert (kinds["species"], kinds["bill_length_mm"]) == ("categorical", "numeric")
    assert all(column["reason"] for column in found["columns"])


def test_kinds_and_drops_and_missing(sightline, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open("t.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [["a,b", "a=b", "c"], *[[i % 5, i % 3, "x" if i % 2 else "-"] for i in range(30)]]
        )
    options = ["--drop", '"a,b"', "--kind", "a=b=categorical", "--missing", "-", "--json"]
    found = json.loads(sightline("inspect", "t.csv", *options).out)
    assert next((c["name"], c["kind"]) for c in found["columns"]) == ("a=b", "categorical")
    assert [column["name"] for column in found["columns"]] == ["a=b", "c"]
    assert found["columns"][1]["missing"] == 15
    found = json.loads(sightline("inspect", "t.csv", "--json").out)
    assert found["columns"][2]["missing"] == 0
    assert len(found["columns"]) == 3


def test_inspect_a_model(sightline, here):
    said = sightline("inspect", "runs/a/model.sightline")
    assert said.code == 0
    assert "Predicts species, classification: Adelie, Chinstrap, Gentoo." in said.out
    assert "Trained on 276 rows of" in said.out
    found = json.loads(sightline("inspect", "runs/a/model.sightline", "--json").out)
    assert found["target"]["classes"] == ["Adelie", "Chinstrap", "Gentoo"]
    assert found["parameters"] > 0


def test_explain_a_row(sightline, here):
    said = sightline("explain", "runs/a", "penguins.csv", "--row", "3")
    assert said.code == 0
    assert "Row 3 of penguins.csv" in said.out
    assert "Note: bill_length_mm is missing" in said.out
    found = json.loads(sightline("explain", "runs/a", "penguins.csv", "--row", "3", "--json").out)
    assert found["raw"]["island"] == "Torgersen"
    assert found["raw"]["sex"] is None
    assert sum(found["probabilities"]) == pytest.approx(1)
    assert found["prediction"] in found["classes"]
    assert [layer["name"] for layer in found["layers"]][-1] == "Output layer: Linear + softmax"


def test_explain_shows_what_pushed_the_prediction(sightline, here):
    said = sightline("explain", "runs/a", "penguins.csv", "--row", "20")
    found = json.loads(sightline("explain", "runs/a", "penguins.csv", "--row", "20", "--json").out)
    pushes = found["pushes"]
    assert f"Contribution of each column to the probability of {found['prediction']}" in said.out
    assert "Column | Value | Contribution" in " ".join(said.out.split())
    for column, push in pushes["columns"]:
        line = next(line for line in said.out.splitlines() if line.startswith(f"| {column} "))
        assert f"| {found['raw'][column]} " in line
        assert f"{push:+.3f}" in line or abs(push) < 0.001
    assert "a typical row: the median" in said.out
    assert f"from {pushes['permutations']} orders of the columns" in said.out
    total = pushes["base"] + sum(push for _, push in pushes["columns"])
    assert total == pytest.approx(pushes["value"], abs=1e-6)
    assert pushes["value"] == pytest.approx(max(found["probabilities"]))


def test_importance_on_the_test_rows(sightline, here):
    found = json.loads(sightline("importance", "runs/a", "--json").out)
    assert (found["metric"], found["part"], found["rows"]) == ("log_loss", "test", 34)
    assert len(found["columns"]) == 7
    said = sightline("importance", "runs/a")
    assert said.code == 0
    assert said.err == ""
    assert "test: permutation importance of each column" in said.out
    assert "Log loss rises by" in said.out
    places = [said.out.index(f"| {one['column']} ") for one in found["columns"]]
    assert places == sorted(places), "the most important first"
    assert " ".join(found["sentence"].split()) in " ".join(said.out.split())


def test_importance_on_other_rows(sightline, here):
    options = ("--repeats", "2", "--seed", "3", "--json")
    found = json.loads(sightline("importance", "runs/a", "penguins.csv", *options).out)
    assert (found["part"], found["rows"], found["repeats"]) == ("penguins.csv", 344, 2)
    again = sightline("importance", "runs/a", "penguins.csv", "--repeats", "2", "--json")
    assert json.loads(again.out)["columns"] != found["columns"], "another seed"


def test_importance_of_what_cannot_be_measured(sightline, here, tmp_path):
    refused(sightline("importance", "runs/a", "--repeats", "0"), "repeats is 0")
    refused(sightline("importance", "runs/a", "--seed", "-1"), "seed is -1")
    (tmp_path / "x.csv").write_text("species\nAdelie\n")
    refused(sightline("importance", "runs/a", tmp_path / "x.csv"), "the model needs")


def test_evaluate_the_test_rows(sightline, here):
    metrics = json.loads(sightline("evaluate", "runs/a", "--json").out)
    assert metrics["part"] == "test"
    assert {"accuracy", "log_loss", "roc_auc", "classes", "confusion", "baseline"} <= set(metrics)
    assert sum(map(sum, metrics["confusion"])) == metrics["rows"] == 34
    said = sightline("evaluate", "runs/a/model.sightline")
    assert "test: 34 rows" in said.out
    assert said.err == ""


def test_evaluate_warns_of_training_rows(sightline, here, tmp_path):
    said = sightline("evaluate", "runs/a", "penguins.csv", "--json")
    seen = json.loads(said.out)["training_rows_seen"]
    assert seen >= 276
    assert f"Warning: {seen} of the 344 rows of penguins.csv equal a row" in said.err
    text = (here / "penguins.csv").read_text().splitlines()
    other = tmp_path / "other.csv"
    moved = [
        line.replace("2007", "1999").replace("2008", "1999").replace("2009", "1999")
        for line in text
    ]
    other.write_text("\n".join(moved) + "\n")
    warnings.simplefilter("always")
    said = sightline("evaluate", "runs/a", other, "--json")
    assert json.loads(said.out)["training_rows_seen"] == 0
    assert said.err == (
        "Warning: 344 of 344 rows have a value outside the training range in the column 'year': check its unit and "
        "its source.\n"
    )


def test_a_column_that_looks_like_numbers_is_told_although_it_is_quiet(sightline, tmp_path):
    warnings.simplefilter("always")
    cells = "".join(f"{n}.{n} {'€$'[n % 2]},{n % 7},{'ab'[n % 2]}\n" for n in range(60))
    (tmp_path / "t.csv").write_text("price,x,y\n" + cells, encoding="utf-8")
    said = sightline(
        "fit",
        tmp_path / "t.csv",
        "--target",
        "y",
        "--quiet",
        "--run",
        tmp_path / "r",
        "--epochs",
        "1",
    )
    assert said.code == 0
    assert said.err.startswith(f"Warning: {tmp_path / 't.csv'}: the column 'price' is not used: ")
    assert said.err.endswith("some are in € and others in $: write them in one unit.\n")


def test_predict_says_when_no_row_has_a_prediction(sightline, here, tmp_path):
    lines = (here / "penguins.csv").read_text().splitlines()[:4]
    lost, out = tmp_path / "bad.csv", tmp_path / "out.csv"
    lost.write_text(
        lines[0] + "\n" + "\n".join(line.replace("2007", "soon") for line in lines[1:]) + "\n"
    )
    refused(
        sightline("predict", "runs/a", lost, "-o", out), "No row of", "row 0: column 'year': 'soon'"
    )
    assert out.read_text().count("is not a finite number") == 3  # it is written all the same
    said = sightline("predict", "runs/a", lost, "--json", "-o", out)
    assert said.code == 2
    assert len(json.loads(said.out)["bad"]) == 3


def test_evaluate_needs_the_target(sightline, here, tmp_path):
    lines = (here / "penguins.csv").read_text().splitlines()
    (tmp_path / "x.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n")
    refused(sightline("evaluate", "runs/a", tmp_path / "x.csv"), "no column 'species', the target")


def test_report_as_pictures_alone(sightline, here, tmp_path):
    before = sorted(here.rglob("*"))
    said = sightline("report", "runs/a", "--png", tmp_path / "png", "--svg", tmp_path / "svg")
    assert (said.code, said.err) == (0, "")
    written = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert sorted(said.out.split()) == list(map(str, written))
    assert {path.suffix for path in written} == {".png", ".svg"}
    assert {path.name for path in written} >= {"loss.png", "loss.svg", "confusion.png"}
    assert sorted(here.rglob("*")) == before  # no page: it was not asked for


def test_report_as_a_page_and_pictures(sightline, here, tmp_path):
    page, folder = tmp_path / "page.html", tmp_path / "png"
    said = sightline("report", "runs/a", "-o", page)
    assert (said.code, said.out) == (0, f"{page}\n")
    assert page.read_text().lower().startswith("<!doctype html>")
    page.unlink()
    found = json.loads(sightline("report", "runs/a", "-o", page, "--png", folder, "--json").out)
    assert page.is_file()
    assert found["report"] == str(page)
    assert sorted(found["pictures"]) == sorted(map(str, folder.iterdir()))


def test_pictures_without_matplotlib(sightline, here, tmp_path, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    said = sightline("report", "runs/a", "--png", tmp_path / "png")
    refused(said, "matplotlib, which is not installed", 'pip install "sightline[plot]"')
    assert not (tmp_path / "png").exists()


def quiz_of(folder):
    from sightline.pipeline.folder import Run

    return Run(folder / "runs" / "a").find("lesson", "quiz")[-1].body["questions"]


def test_quiz_counts_right_answers(sightline, here):
    right = [question["right"] for question in quiz_of(here)]
    said = sightline("quiz", "runs/a", stdin="\n".join(right).lower() + "\n")
    assert said.code == 0
    assert said.out.count("Right: ") == 3
    assert said.out.endswith("3 of 3 right.\n")
    wrong = "ABCD"[("ABCD".index(right[0]) + 1) % 4]
    said = sightline("quiz", "runs/a", stdin="\n".join(["maybe", wrong, *right[1:]]) + "\n")
    assert "Please type A, B, C or D." in said.out
    assert f"Not quite: it is {right[0]}. " in said.out
    assert said.out.endswith("2 of 3 right.\n")


@pytest.mark.parametrize("stdin", [None, ""])
def test_quiz_with_nobody_to_ask(sightline, here, stdin):
    said = sightline("quiz", "runs/a", stdin=stdin)
    assert said.code == 0
    assert said.out.count("The answer is ") == 3
    assert said.out.endswith("0 of 3 right.\n")


def test_quiz_as_json(sightline, here):
    assert json.loads(sightline("quiz", "runs/a", "--json").out)["questions"] == quiz_of(here)


def test_a_run_without_questions(sightline, tmp_path):
    run = tmp_path / "my run"
    run.mkdir()
    (run / "trace.jsonl").write_text("")
    refused(sightline("quiz", run), f"the run did not end. Resume it: sightline resume '{run}'")


def test_predict_to_standard_output(sightline, here):
    said = sightline("predict", "runs/a", "penguins.csv", "--keep", "island,year")
    rows = list(csv.DictReader(said.out.splitlines()))
    assert len(rows) == 344
    assert list(rows[0]) == [
        "island", "year", "prediction", "probability_Adelie", "probability_Chinstrap",
        "probability_Gentoo",
    ]  # fmt: skip
    for row in rows:
        shares = {name: float(v) for name, v in row.items() if name.startswith("probability_")}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert max(shares, key=shares.get) == f"probability_{row['prediction']}"
    assert "Rows with missing values: " in said.err


def test_predict_as_json(sightline, here, tmp_path):
    found = json.loads(sightline("predict", "runs/a", "penguins.csv", "--json").out)
    assert found["rows"] == len(found["predictions"]) == 344
    assert found["missing"]["sex"] == 11
    assert found["output"] is None
    output = tmp_path / "p.parquet"
    said = sightline("predict", "runs/a", "penguins.csv", "-o", output, "--json")
    assert json.loads(said.out)["output"] == str(output)
    assert "predictions" not in json.loads(said.out)
    assert output.is_file()


def test_predict_to_a_compressed_file(sightline, here, tmp_path):
    output = tmp_path / "p.csv.gz"
    said = sightline("predict", "runs/a", "penguins.csv", "-o", output)
    assert (said.code, said.out) == (0, "")
    assert f"344 predictions written to {output}." in said.err
    assert sl.read(output).rows == 344


def test_a_bad_row_keeps_its_place(sightline, here, tmp_path):
    lines = (here / "penguins.csv").read_text().splitlines()[:200]
    lines[5] = lines[5].replace(lines[5].split(",")[1], "tall", 1)
    (tmp_path / "bad.csv").write_text("\n".join(lines) + "\n")
    said = sightline("predict", "runs/a", tmp_path / "bad.csv")
    rows = list(csv.DictReader(said.out.splitlines()))
    assert len(rows) == 199
    assert rows[4]["prediction"] == rows[4]["probability_Adelie"] == ""
    assert "tall" in rows[4]["error"]
    assert rows[3]["error"] == ""
    assert "1 row has no prediction; the first is row 4" in said.err


def test_a_full_disk_is_said(sightline, here, tmp_path, monkeypatch):
    import errno

    import pyarrow.csv

    class Full:
        def __init__(self, path, schema):
            Path(path).write_bytes(b"half")

        def write(self, table):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(pyarrow.csv, "CSVWriter", Full)
    output = tmp_path / "out.csv"
    output.write_text("mine")
    refused(sightline("predict", "runs/a", "penguins.csv", "-o", output), "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert output.read_text() == "mine"


def test_every_edit_has_an_option(sightline, here, monkeypatch):
    from sightline import contracts as c
    from sightline.pipeline import control

    sent = []

    def send(run, edits, seconds):
        sent.append((str(run), edits, seconds))
        return ["done\x1b[31m"], False

    monkeypatch.setattr(control, "send_and_wait", send)
    said = sightline(
        "edit", "runs/a", "--widen", "hidden.0=96", "--widen", "hidden.1=7", "--deepen", "hidden.0",
        "--replace", "hidden.0.activation=LeakyReLU(negative_slope=0.2)", "--freeze", "embeddings",
        "--unfreeze", "output", "--learning-rate", "0.5", "--weight-decay", "0", "--batch-size", "64",
        "--epochs", "7", "--stop", "--wait", "3",
    )  # fmt: skip
    assert said == (0, "done\\x1b[31m\n", "")
    ((run, edits, seconds),) = sent
    assert (run, seconds) == ("runs/a", 3.0)
    assert edits == [
        c.Widen("hidden.0", 96), c.Widen("hidden.1", 7), c.Deepen("hidden.0"),
        c.Replace("hidden.0.activation", "LeakyReLU(negative_slope=0.2)"), c.Freeze("embeddings"),
        c.Unfreeze("output"), c.SetLearningRate(0.5), c.SetWeightDecay(0.0), c.SetBatchSize(64),
        c.SetEpochs(7), c.Stop(),
    ]  # fmt: skip
    monkeypatch.setattr(control, "send_and_wait", lambda *_: (["refused: no"], True))
    assert sightline("edit", "runs/a", "--stop") == (2, "refused: no\n", "")


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [(Interrupted(15, "runs/x", 7), 143, "Interrupted after step 7; a checkpoint is written."),
     (Interrupted(2, "runs/x", 7), 130, "Go on with: sightline resume runs/x"),
     (KeyboardInterrupt(), 130, "Interrupted.")],
)  # fmt: skip
def test_an_interrupted_fit_has_its_own_exit_code(sightline, here, monkeypatch, error, code, text):
    import sightline.pipeline.fit as pipeline

    def broken(*arguments, **options):
        raise error

    monkeypatch.setattr(pipeline, "fit", broken)
    said = sightline("fit", "penguins.csv", "--target", "species")
    assert (said.code, said.out) == (code, "")
    assert text in said.err


def test_a_fault_of_ours_is_not_hidden(sightline, here, monkeypatch):
    import sightline.pipeline.fit as pipeline

    def broken(*arguments, **options):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(pipeline, "fit", broken)
    with pytest.raises(ZeroDivisionError, match="ours"):
        sightline("fit", "penguins.csv", "--target", "species")


@pytest.mark.parametrize(
    ("option", "control"),
    [("--pause", "pause"), ("--continue", "continue"), ("--one-epoch", "one_epoch")],
)
def test_a_run_is_held_and_let_go_on(sightline, here, monkeypatch, option, control):
    sent = []

    def send(run, control, seconds):
        sent.append((str(run), control, seconds))
        return ["so be it"], control == "pause"

    monkeypatch.setattr("sightline.pipeline.control.control_and_wait", send)
    said = sightline("edit", "runs/a", option, "--wait", "3")
    assert said == (2 if control == "pause" else 0, "so be it\n", "")
    assert sent == [("runs/a", control, 3.0)]


def test_the_page_without_what_it_needs(sightline, here, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *more: None if name == "uvicorn" else found(name, *more),
    )
    refused(sightline("live", "runs/a"), "Starlette and uvicorn", 'pip install "sightline[live]"')


def test_live_goes_to_the_api(sightline, here, monkeypatch):
    asked = []

    def note(name):
        def make(*arguments, live, **options):
            asked.append((name, live))
            raise Interrupted(2, "r", 1)

        return make

    # demo first: its module takes fit from the other one when it is imported, and would keep the one made here.
    for name, module in (("demo", "demo"), ("fit", "fit"), ("resume", "runs")):
        monkeypatch.setattr(f"sightline.pipeline.{module}.{name}", note(name))
    for options in ([], ["--live"]):
        sightline("fit", "penguins.csv", "--target", "species", *options)
        sightline("demo", *options)
        sightline("resume", "runs/a", *options)
    assert asked == [(name, live) for live in (False, True) for name in ("fit", "demo", "resume")]


# ------------------------------------------------------------- the target


@pytest.mark.parametrize("command", ["fit", "tune"])
def test_a_missing_target_lists_the_columns(sightline, here, command):
    refused(
        sightline(command, "penguins.csv", "--drop", "species"),
        "Missing option '--target'. The columns of penguins.csv are: 'island', 'bill_length_mm', ",
        "'year'. Give the one to predict, such as --target year",
    )
    refused(sightline(command, "penguins.csv", "--target", ""), "The columns of penguins.csv are: ")


def test_a_missing_target_of_many_columns_with_strange_names(sightline, tmp_path):
    names = [f"c{number}\x1b[31m" for number in range(40)]
    (tmp_path / "wide.csv").write_text(",".join(names) + "\n" + ",".join("1" * 40) + "\n")
    said = sightline("fit", tmp_path / "wide.csv")
    refused(said, "and 10 more", "--target 'c39")
    assert "\x1b" not in said.err


@pytest.mark.parametrize("source", ["nothing.csv", "runs", "-", "oracle://host/db"])
def test_a_missing_target_of_a_table_that_cannot_be_read(sightline, here, source):
    said = sightline("fit", source, stdin="a,b\n1,2\n")
    refused(said, "Error: Missing option '--target'.\n")


def test_inspect_shows_what_a_fit_would_make_of_a_target(sightline, here):
    said = sightline("inspect", "penguins.csv", "--target", "species")
    assert said.code == 0
    assert "Classification, because the values are categorical." in said.out
    assert "| Chinstrap | 68 " in said.out
    assert "310 training rows (90 %) in 5 folds, 34 test rows (10 %)" in " ".join(said.out.split())
    found = json.loads(sightline("inspect", "penguins.csv", "--target", "sex", "--json").out)
    target = found["target"]
    assert (target["task"], target["positive"], target["dropped"]) == ("classification", "male", 11)
    assert target["classes"] == [{"class": "female", "rows": 165}, {"class": "male", "rows": 168}]
    roles = {column["name"]: column["role"] for column in found["columns"]}
    assert (roles["sex"], roles["year"]) == ("target", "feature")
    options = ["--target", "sex", "--positive", "female", "--time", "year", "--json"]
    found = json.loads(sightline("inspect", "penguins.csv", *options).out)
    assert found["target"]["positive"] == "female"
    said = sightline("inspect", "penguins.csv", "--target", "body_mass_g")
    assert "Values from 2,700 to 6,300, 4,202 on average." in said.out
    assert "Left out: 2 rows without a target." in said.out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["penguins.csv", "--target", "specie"], ["Did you mean 'species'?"]),
        (["penguins.csv", "--target", "island", "--task", "regression"], ["which regression cannot predict"]),
        (["penguins.csv", "--positive", "male"], ["--positive is given without --target"]),
        (["runs/a", "--target", "species"], ["is a model, whose target is known"]),
    ],
)  # fmt: skip
def test_a_target_that_inspect_refuses(sightline, here, arguments, parts):
    refused(sightline("inspect", *arguments), *parts)


# ------------------------------------------------------------- JSON


def test_every_command_has_json():
    from sightline.cli.main import cli

    for name, command in cli.commands.items():
        assert "--json" in [option for one in command.params for option in one.opts], name


def test_edit_as_json(sightline, here, monkeypatch):
    from sightline.pipeline import control

    monkeypatch.setattr(control, "send_and_wait", lambda *_: (["refused: no"], True))
    said = sightline("edit", "runs/a", "--stop", "--json")
    assert said.code == 2
    assert json.loads(said.out) == {"run": "runs/a", "answers": ["refused: no"], "refused": True}


def test_a_server_that_is_ready_says_its_address_as_json(sightline, here, monkeypatch):
    monkeypatch.setattr(
        "sightline.page.server.serve", lambda run, ready, **_: ready("http://127.0.0.1:5/?token=x")
    )
    said = sightline("live", "runs/a", "--json")
    assert said.out.count("\n") == 1
    assert json.loads(said.out) == {"run": "runs/a", "address": "http://127.0.0.1:5/?token=x"}

    class Supervisor:
        def __init__(self, settings, models, watch, ready):
            self.run = lambda: ready("http://127.0.0.1:8000", list(models))

    monkeypatch.setattr("sightline.serve.supervisor.Supervisor", Supervisor)
    said = sightline("serve", "runs/a", "--json")
    assert said.out.count("\n") == 1
    assert json.loads(said.out) == {"address": "http://127.0.0.1:8000", "models": ["runs/a"]}


def test_card_and_compare_as_json(sightline, here, tmp_path):
    found = json.loads(sightline("card", "runs/a", "--json").out)
    assert found["output"] is None
    assert found["card"].startswith("---")
    written = tmp_path / "card.md"
    found = json.loads(sightline("card", "runs/a", "-o", written, "--json").out)
    assert (found["output"], written.read_text()) == (str(written), found["card"])
    page = tmp_path / "page.html"
    found = json.loads(sightline("compare", "runs/a", "--page", "-o", page, "--json").out)
    assert found["page"] == str(page)
    assert "page" not in json.loads(sightline("compare", "runs/a", "--json").out)
