"""Runs and models that were read by the first reading rules stay what they were (see reading.py)."""

import json
import shutil
from pathlib import Path

import pytest

import sightline as sl
from sightline.pipeline.origin import evaluate
from tests.golden.kill import machine
from tests.golden.reading import outcome

HERE = Path(__file__).parent / "reading_1"
TABLE = HERE / "table.csv"
EXPECTED = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
SAME = machine() == EXPECTED["machine"]


def close(found, expected):
    """Numbers as they were: the same bits on the same machine, else within rounding."""
    if SAME:
        assert found == expected
    assert found == pytest.approx(expected, rel=5e-3, abs=5e-3)


def numbers(metrics):
    return {name: metrics[name] for name in ("log_loss", "accuracy", "roc_auc")}


def as_it_was(run):
    found = outcome(run, TABLE)
    assert found["kinds"] == EXPECTED["kinds"] == {
        "umsatz": "numeric", "quote": "categorical", "klasse": "categorical"
    }  # fmt: skip
    close(numbers(found["metrics"]), numbers(EXPECTED["metrics"]))
    close(found["train_losses"], EXPECTED["train_losses"])
    for row, known in zip(found["probabilities"], EXPECTED["probabilities"], strict=True):
        close(row, known)


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(HERE, tmp_path / "runs")
    return tmp_path / "runs"


def test_the_table_is_another_one_by_the_present_rules():
    now = sl.read(TABLE)
    assert now.schema["quote"].kind == "numeric"
    assert now.numbers("umsatz").max() > 50_000
    assert (
        now.fingerprint()
        != sl.Run(HERE / "whole").find("run", "start")[0].body["origin"]["fingerprint"]
    )


def test_an_interrupted_run_is_resumed(folder):
    as_it_was(sl.resume(folder / "killed", source=TABLE, quiet=True))


def test_a_run_is_replayed(folder, tmp_path):
    again = sl.replay(folder / "whole", to=tmp_path / "again", source=TABLE, quiet=True)
    if SAME:
        assert again.find("train", "replay")[-1].body["identical"]
    as_it_was(again)
    again.model.save(tmp_path / "again.sightline")
    assert sl.Model.load(tmp_path / "again.sightline").encoder.schema.rules == 1


def test_a_model_predicts_and_is_evaluated(folder):
    run = sl.Run(folder / "whole")
    as_it_was(run)
    model = run.model
    model.provenance |= {"source": str(TABLE), "paths": [str(TABLE)]}
    metrics = evaluate(model)
    close(numbers(metrics), numbers(EXPECTED["metrics"]))
    assert model.predictions({"umsatz": "950", "quote": "0,3"}).unseen == {}
    assert model.predictions({"umsatz": "950", "quote": 0.3}).unseen == {"quote": 1}
    bad = model.predictions({"umsatz": ["1.234,5", "\u22121"], "quote": ["0,3", "0,3"]}).bad
    assert [row for row, _ in bad] == [0, 1]
