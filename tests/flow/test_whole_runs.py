"""Whole runs through the command line: the real one where starting it matters."""

import csv
import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from sightline.pipeline.folder import Run

STRANGE = ['say "hi"', "a,b", "two\nlines", "😀", "<script>alert(1)</script>", "\x1b[31mred\x1b[0m"]


def environment(**more):
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def real(folder, *arguments, **more):
    """Start the command as a user does."""
    command = [sys.executable, "-m", "sightline", *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, capture_output=True, env=environment(**more), timeout=120, check=False
    )


@pytest.fixture
def here(tmp_path, monkeypatch, penguins):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "penguins.csv").write_bytes(penguins.read_bytes())
    return tmp_path


def test_classification_from_fit_to_quiz(here):
    fit = real(
        here, "fit", "penguins.csv", "--target", "species", "--network", "MLP", "--epochs", "20", "--device", "cpu",
        "--learning-rate", "0.01", PYTHONIOENCODING="ascii", PYTHONUTF8="0",
    )  # fmt: skip
    assert (fit.returncode, fit.stderr) == (0, b"")
    text = fit.stdout.decode("ascii")
    assert "\x1b" not in text
    for said in ("276 training", "Device: cpu", "Epoch", "Prediction:", "Accuracy", "Next:"):
        assert said in text, said
    (folder,) = (here / "runs").iterdir()
    assert folder.name.startswith("penguins-")
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoints", "model.sightline", "report.html", "trace.jsonl",
    ]  # fmt: skip

    # The commands it prints to type next are commands that work.
    commands = [line.strip() for line in text.splitlines() if line.startswith("  sightline ")]
    assert [command.split()[1] for command in commands] == [
        "evaluate", "predict", "explain", "inspect", "quiz",
    ]  # fmt: skip
    program = f"{sys.executable} -m sightline"
    script = "\n".join(command.replace("sightline", program, 1) for command in commands[:2])
    done = subprocess.run(
        ["/bin/sh", "-ec", script], cwd=here, capture_output=True, env=environment(), check=False,
        stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len((here / "predictions.csv").read_text().splitlines()) == 345
    metrics = Run(folder).metrics
    assert metrics["accuracy"] > 0.9
    assert f"{metrics['accuracy']:.3f}" in done.stdout.decode()


def test_fit_as_json_and_its_bundle(sightline, here):
    said = sightline(
        "fit", "penguins.csv", "--target", "body_mass_g", "--network", "MLP", "--epochs", "40", "--learning-rate", "0.01",
        "--device", "cpu", "--run", "r", "--json",
    )  # fmt: skip
    assert (said.code, said.err) == (0, "")
    found = json.loads(said.out)
    assert found["run"] == "r"
    assert (here / found["bundle"]).is_file()
    assert found["best_epoch"] <= found["epochs"] <= 40
    assert {"rmse", "mae", "r2", "baseline", "rows", "part"} <= set(found["metrics"])
    assert found["metrics"]["rmse"] < 0.6 * found["metrics"]["baseline"]["rmse"]
    evaluated = json.loads(sightline("evaluate", "r", "--json").out)
    assert evaluated == found["metrics"]

    output = here / "p.parquet"
    said = sightline("predict", "r", "penguins.csv", "--keep", "species,year", "-o", output)
    assert said.code == 0
    assert f"344 predictions written to {output}." in said.err
    lines = (here / "penguins.csv").read_text().splitlines()
    rows = [lines[0], lines[1].replace(lines[1].split(",")[2], "long"), lines[2]]
    (here / "bad.csv").write_text("\n".join(rows) + "\n")
    said = sightline("predict", "r", "bad.csv", "-o", "bad_out.csv")
    assert "1 prediction written to bad_out.csv; 1 without, see the column error." in said.err
    table = pq.read_table(output)
    assert table.column_names == ["species", "year", "prediction"]
    assert table.num_rows == 344
    assert table["species"][0].as_py() == "Adelie"
    assert table["year"].to_pylist()[:2] == [2007, 2007]
    assert 2500 < table["prediction"][0].as_py() < 6500

    explained = json.loads(sightline("explain", "r", "penguins.csv", "--json").out)
    assert explained["probabilities"] == []
    assert explained["prediction"] == pytest.approx(table["prediction"][0].as_py(), rel=1e-4)
    assert sightline("quiz", "r").code == 0


def test_changed_data_is_not_evaluated(sightline, here):
    fit = [
        "fit",
        "penguins.csv",
        "--target",
        "species",
        "--network",
        "MLP",
        "--epochs",
        "1",
        "--run",
        "r",
        "--quiet",
    ]
    assert sightline(*fit).code == 0
    before = (here / "r" / "trace.jsonl").read_bytes()
    again = sightline(*fit)
    assert again.code == 2
    assert "r exists already" in again.err
    assert (here / "r" / "trace.jsonl").read_bytes() == before
    text = (here / "penguins.csv").read_text()
    (here / "penguins.csv").write_text(text.replace(",3750,", ",3751,", 1))
    said = sightline("evaluate", "r")
    assert (said.code, said.out) == (2, "")
    assert "penguins.csv has changed since the model was trained on it" in said.err
    assert sightline("evaluate", "r", "penguins.csv").code == 0


NETWORK = """
import sightline as sl
from torch import nn

class Mine(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.flat = sl.Flat(spec, nn.Linear(spec.flat_width, spec.outputs))

    def forward(self, numeric, categorical):
        return self.flat(numeric, categorical)
"""


def test_a_network_of_your_own(sightline, here):
    (here / "mine.py").write_text(NETWORK)
    fit = [
        "fit",
        "penguins.csv",
        "--target",
        "species",
        "--network",
        "MLP",
        "--epochs",
        "2",
        "--run",
        "r",
        "--json",
    ]
    assert sightline(*fit, "--network", "mine.py:Mine").code == 0
    (kept,) = (here / "r" / "sources").iterdir()
    assert kept.read_text() == NETWORK
    refused = sightline("predict", "r", "penguins.csv")
    assert refused.code == 2
    assert "--network file.py:Mine" in refused.err
    said = sightline("predict", "r", "penguins.csv", "--network", "mine.py:Mine")
    assert len(said.out.splitlines()) == 345
    said = sightline("explain", "r", "penguins.csv", "--network", "mine.py:Mine")
    assert "flat.module: Linear" in said.out
    wrong = sightline(*fit[:-3], "--run", "s", "--network", "mine.py:Mien")
    assert wrong.code == 2
    assert "Did you mean 'Mine'?" in wrong.err
    assert not (here / "s").exists()


def test_a_fit_with_every_new_option(sightline, here):
    said = sightline(
        "fit", "penguins.csv", "--target", "species", "--network", "MLP", "--epochs", "4", "--run", "r", "--device", "cpu",
        "--schedule", "cosine", "--warm-up", "0.1", "--ema", ".9", "--optimizer", "muon", "--clip-norm", "1",
        "--balanced", "--weight", "year", "--label-smoothing", "0.05", "--accumulate", "2",
        "--precision", "float32", "--no-doctor", "--checkpoint-epochs", "2", "--checkpoint-seconds", "9",
        "--time-limit", "600", "--patience", "3", "--batch-size", "40", "--weight-decay", "0.1",
    )  # fmt: skip
    assert said.code == 0, said.err
    run = Run(here / "r")
    start = run.records[0].body
    assert start["split"]["weight"] == "year"
    asked = {"schedule": "cosine", "warm_up": 0.1, "ema": 0.9, "optimizer": "muon", "clip_norm": 1.0,
             "class_weights": "balanced", "label_smoothing": 0.05, "accumulate": 2, "precision": "float32",
             "doctor": False, "time_limit": 600.0, "patience": 3, "batch_size": 40,
             "weight_decay": 0.1}  # fmt: skip
    assert {name: start["settings"][name] for name in asked} == asked
    (plan,) = run.find("train", "plan")
    assert (plan.body["batch_size"], plan.body["micro_batch"]) == (80, 40)
    assert run.find("train", "layers") == []
    assert run.epochs[-1].metrics["learning_rate"] < 0.0005
    kept = [path.name for path in (here / "r" / "checkpoints").iterdir()]
    assert sorted(kept) == [f"step-{step:012}.checkpoint" for step in (0, 8, 16)]
    roles = {c["name"]: c["role"] for c in run.find("load", "table")[0].body["columns"]}
    assert roles["year"] == "weight"
    again = sightline("replay", "r", "--to", "again")
    assert again.code == 0, again.err
    assert (
        "Replayed: 16 steps and 0 edits gave weights bit for bit the same as the first"
        in " ".join(again.out.split())
    )


def test_strange_names_and_labels_come_out_as_they_went_in(sightline, here):
    rows = [[i % 6 + i % 5 / 100, STRANGE[i % 6], i] for i in range(120)]
    with open("strange.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["x\x1b[2J,", 'the "kind" <b>', "n"], *rows])
    said = sightline(
        "fit", "strange.csv", "--target", 'the "kind" <b>', "--network", "MLP", "--epochs", "30", "--run", "r",
        "--learning-rate", "0.05",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert not set("\x1b\x07\r") & set(said.out)
    assert "\\x1b[31mred" in said.out
    keep = '"the ""kind"" <b>"'
    assert sightline("predict", "r", "strange.csv", "--keep", keep, "-o", "p.csv").code == 0
    with open("p.csv", newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [row['the "kind" <b>'] for row in found] == [label for _, label, _ in rows]
    assert {row["prediction"] for row in found} == set(STRANGE)
    assert {f"probability_{label}" for label in STRANGE} < set(found[0])
    for command in (["evaluate", "r"], ["explain", "r", "strange.csv", "--row", "5"]):
        said = sightline(*command)
        assert said.code == 0
        assert not set("\x1b\x07\r") & set(said.out + said.err)
    said = sightline("inspect", "r/model.sightline")
    assert "\x1b" not in said.out
    wrong = sightline("fit", "strange.csv", "--target", "\x1b[31m")
    assert wrong.code == 2
    assert "\x1b" not in wrong.err


@pytest.mark.skipif(os.name == "nt", reason="a shell with head is needed")
def test_a_reader_that_has_seen_enough(fitted):
    big = fitted / "big.csv"
    header, *lines = (fitted / "penguins.csv").read_text().splitlines()
    big.write_text("\n".join([header, *lines * 20]) + "\n")
    program = f"{sys.executable} -m sightline predict runs/a big.csv --quiet | head -n 2"
    done = subprocess.run(
        ["/bin/sh", "-c", program], cwd=fitted, capture_output=True, env=environment(), check=False,
        timeout=120,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == b""
