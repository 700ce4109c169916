import math

import pytest

from sightline.errors import OptionError
from sightline.lesson.fault_records import observed
from sightline.lesson.faults import FAULTS, find_fault, lines, shown
from sightline.trace.records import Trace


def trace(*records):
    written = Trace()
    for stage, type_, body in records:
        written.write(stage, type_, body)
    return written.records


def test_the_first_epoch_that_names_it_is_found():
    records = trace(
        ("train", "epoch", {"number": 1, "observation": "loss is falling fast"}),
        ("train", "epoch", {"number": 2, "observation": "stable; gradients vanish: a is small; x"}),
        ("train", "epoch", {"number": 3, "observation": "gradients vanish: b is small"}),
    )
    assert observed(records, FAULTS["vanishing"]) == {
        "record": "train/epoch", "epoch": 2, "said": "gradients vanish: a is small",
    }  # fmt: skip
    assert observed(records, FAULTS["overfitting"]) is None


def test_notes_and_verdicts_are_quoted():
    said = "Labels may be wrong: of the 200 rows, many."
    records = trace(
        ("prepare", "columns", {"notes": ["3 values", "refund alone predicts y in 100.0 %"]}),
        ("predict", "baselines", {"verdict": f"Worth it. {said}"}),
    )
    assert observed(records, FAULTS["leakage"])["said"] == "refund alone predicts y in 100.0 %"
    assert observed(records, FAULTS["label-noise"])["said"] == said
    assert observed(records, FAULTS["unscaled"]) is None


@pytest.mark.parametrize(("name", "nearest"), [("overfiting", "overfitting"), ("LEAKAGE", "leakage"), ("label_noise", "label-noise")])  # fmt: skip
def test_a_wrong_name_suggests_the_nearest(name, nearest):
    with pytest.raises(OptionError, match=f"Did you mean '{nearest}'"):
        find_fault(name)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_described_in_two_sentences(name):
    fault = FAULTS[name]
    assert fault.fault.count(". ") == 1
    assert fault.fault.endswith(".")
    assert fault.cure.endswith(".")


def test_a_measure_that_is_no_number_is_said():
    assert shown(math.inf) == shown(math.nan) == "not a finite number"


def test_the_terminal_shows_both_runs():
    side = {"name": "fault", "title": "as it was", "run": "a/fault", "observed": {"record": "train/epoch", "epoch": 4, "said": "bad"},
            "last": "stable", "epochs": [(0, 1.0, None)], "measured": {"test accuracy": 0.5}}  # fmt: skip
    body = {"title": "T", "fault": "F.", "cure": "C.", "sides": [side, {**side, "name": "cure", "observed": None}],
            "changed": {"patience": [None, 2]}, "later": "Later rows: 9.", "questions": [{"question": "Why?", "answer": "So."}], "page": "a/lesson.html",
            "others": ["leakage"]}  # fmt: skip
    said = lines(body)
    assert "  observed in epoch 4 (train/epoch): bad" in said
    assert said.count("  test accuracy: 0.5") == 2
    assert "changed: patience: None -> 2" in said
    assert "Later rows: 9." in said
    assert "1. Why?" in said
    assert "So." not in " ".join(said)  # answers are on the page
