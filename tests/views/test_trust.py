"""What the terminal, a notebook and the pictures say of trust, of parts and of folds."""

import io

import pytest

from sightline.trace.records import Trace
from sightline.views import results
from sightline.views.explained import conformal_sentence, explained_output, member_sentences
from sightline.views.markup import curve
from sightline.views.notebook import of_explanation, of_run, of_training
from sightline.views.sheet import Sheet
from sightline.views.terminal import TerminalView

EVIL = "x\x1b[31m<b>red</b>\u202e"
FOLDS = {
    "train": 276,
    "valid": 0,
    "test": 34,
    "folds": 5,
    "sentence": "276 training rows in 5 folds",
}
VALID = {"train": 242, "valid": 34, "test": 34, "folds": 0, "sentence": "242 training rows"}


def explained(name="yes", **more):
    return {
        "raw": {}, "error": None, "notes": [], "encoded": {}, "layers": [], "classes": ["no", name],
        "logits": [-1.8, -0.2], "probabilities": [0.2, 0.8], "prediction": name, "pushes": None,
        "parts": [
            {"name": "network", "weight": 0.4, "values": [0.3, 0.7], "share": [-0.8, -0.15]},
            {"name": "trees", "weight": 0.6, "values": [0.2, 0.8], "share": [-1.0, -0.05]},
        ],
        "members": {"mean": [0.3, 0.7], "spread": [0.05, 0.05], "values": [[0.25, 0.75], [0.35, 0.65]]},
        "temperature": 1.25, "uncalibrated": [0.15, 0.85], **more,
    }  # fmt: skip


def number(**more):
    return {
        "raw": {}, "error": None, "notes": [], "encoded": {}, "layers": [], "classes": [],
        "logits": [0.1], "probabilities": [], "prediction": 12.0, "pushes": None,
        "parts": [
            {"name": "network", "weight": 0.5, "values": [10.0], "share": [5.0]},
            {"name": "trees", "weight": 0.5, "values": [14.0], "share": [7.0]},
        ],
        "members": None, "temperature": None, "uncalibrated": None, **more,
    }  # fmt: skip


def baselines(name="logistic regression", **more):
    return {
        "part": "test", "rows": 34, "metric": "log_loss", "differences": [], "verdict": "Worth it.",
        "models": [
            {"name": "this model", "score": 0.2, "low": 0.1, "high": 0.3, "seconds": None,
             "second": {"name": "accuracy", "value": 0.9}, "note": None},
            {"name": name, "score": None, "low": None, "high": None, "seconds": None, "second": None,
             "note": "left out: too many columns"},
        ], **more,
    }  # fmt: skip


def epoch(place, valid=0.5):
    return {"number": place, "train_loss": 0.5, "valid_loss": valid, "observation": "stable",
            "metrics": {"train_accuracy": 0.5, "valid_accuracy": 0.25}}  # fmt: skip


TREES = {"said": "225 boosted trees", "seconds": 3.1}
CALIBRATION = {
    "parts": [{"name": "network", "share": 0.4}, {"name": "trees", "share": 0.6}], "part": "test",
    "temperature": 1.25, "said": "They can be believed.",
    "before": {"ece": 0.06, "points": [{"confidence": 0.9, "accuracy": 0.8}]},
    "after": {"ece": 0.03, "points": []},
}  # fmt: skip
SETS = {
    "alpha": 0.1,
    "coverage": 0.912,
    "mean_size": 1.3,
    "said": "In 9 of 10 rows the set holds it.",
}


def trace(*bodies):
    told = Trace()
    for stage, type_, body in bodies:
        told.write(stage, type_, body)
    return told.records


def shown(*bodies):
    file = io.StringIO()
    view = TerminalView(file)
    for record in trace(*bodies):
        view(record)
    view.close()
    return file.getvalue()


def test_the_terminal_says_out_of_fold():
    end = {"stopped": "done", "best_epoch": 0}
    text = shown(("load", "split", FOLDS), ("train", "epoch", epoch(0)), ("train", "end", end))
    assert "alid" not in text
    assert "Loss: training, out-of-fold." in text
    assert "each row by members that did not learn from it" in " ".join(text.split())
    assert "Held out" in text
    assert "x out-of-fold" in text
    text = shown(("load", "split", VALID), ("train", "epoch", epoch(0)), ("train", "end", end))
    assert "Loss: training, validation. Accuracy: validation rows." in text


def test_a_resumed_run_knows_its_folds():
    file = io.StringIO()
    view = TerminalView(file)
    view.begin(trace(("load", "split", FOLDS), ("load", "batch", {})))
    assert file.getvalue() == ""
    for record in trace(
        ("train", "epoch", epoch(3)), ("train", "end", {"stopped": "done", "best_epoch": 3})
    ):
        view(record)
    assert "x out-of-fold" in file.getvalue()


def test_the_terminal_tells_what_was_measured():
    text = shown(
        ("train", "trees", TREES), ("train", "plateau", {"step": 9, "said": "a lower learning rate"}),
        ("predict", "calibration", CALIBRATION), ("predict", "sets", SETS),
        ("predict", "threshold", {"said": "At 0.31."}), ("predict", "baselines", baselines()),
    )  # fmt: skip
    for said in ("225 boosted trees; 3.10 s.", "a lower learning rate", "They can be believed.", SETS["said"],
                 "At 0.31.", "Worth it.", "logistic regression: left out: too many columns",
                 "| this model          | 0.200    | 0.100 to 0.300 | 0.900    | -    |"):  # fmt: skip
        assert said in text


def test_the_parts_of_a_prediction_add_up():
    text = shown(
        (
            "predict",
            "example",
            {"row": 1, "part": "a test row", "explanation": explained(), "set": ["yes"]},
        )
    )
    for said in ("Prediction of each part for yes", "-0.150", "-0.050", "-0.200", "Calibration, temperature 1.250",
                 "yes 0.850 -> 0.800", "2 members of the network: 0.700 on average for yes", "Prediction set: yes"):  # fmt: skip
        assert said in text
    text = shown(
        (
            "predict",
            "example",
            {"row": 1, "part": "a test row", "explanation": number(), "interval": [9.0, 15.5]},
        )
    )
    for said in ("+5.000", "+7.000", "+12.000", "Prediction interval: 9.000 to 15.500"):
        assert said in text


def test_a_network_of_ones_own_has_no_parts():
    plain = explained(parts=[], members=None, temperature=None, uncalibrated=None)
    assert member_sentences(plain) == []
    assert "each part" not in of_explanation(plain)
    text = shown(("predict", "example", {"row": 1, "part": "a test row", "explanation": plain}))
    assert "each part" not in text
    assert "Prediction set" not in text


def test_the_class_spoken_of_is_the_predicted_one():
    """With a threshold that need not be the likelier one."""
    assert explained_output(explained(prediction="no")) == (0, "no")
    assert explained_output(number()) == (0, "the number")


def test_a_set_may_be_empty_or_long():
    assert "empty, because no class is probable enough" in conformal_sentence({"set": []})
    assert conformal_sentence({"set": list(range(30))}).endswith("and 20 more")


def test_names_are_shown_not_obeyed():
    one = {"row": 1, "part": "a test row", "explanation": explained(EVIL), "set": [EVIL]}
    text = shown(
        ("predict", "baselines", baselines(EVIL, verdict=EVIL)), ("predict", "example", one)
    )
    assert not set("\x1b\u202e") & set(text)
    page = of_run(trace(("predict", "baselines", baselines(EVIL, verdict=EVIL))))
    assert "<b>red" not in page + of_explanation(explained(EVIL))


def test_a_notebook_tells_it_too():
    page = of_run(trace(
        ("load", "split", FOLDS), ("train", "epoch", epoch(0)), ("train", "epoch", epoch(1)), ("train", "trees", TREES),
        ("predict", "calibration", CALIBRATION), ("predict", "sets", SETS), ("predict", "baselines", baselines()),
    ))  # fmt: skip
    for said in (
        "225 boosted trees.",
        "They can be believed.",
        SETS["said"],
        "Worth it.",
        "out-of-fold",
    ):
        assert said in page
    assert "alidation" not in page
    page = of_explanation(explained())
    assert "Prediction of each part for yes" in page
    assert "standard deviation 0.050" in page


@pytest.mark.parametrize(("folds", "word"), [({"folds": 5}, "Out-of-fold"), ({}, "Validation")])
def test_a_training_in_a_notebook_names_its_rows(folds, word):
    plan = {
        "epochs": 2,
        "steps_per_epoch": 3,
        "batch_size": 4,
        "device": "cpu",
        "precision": "float32",
    }
    page = of_training({
        "class": "MLP", "parameters": 3, "plan": plan, "steps": 6, "epochs": [epoch(0), epoch(1)],
        "best_epoch": 1, "stopped": "done", "edits": [], **folds,
    })  # fmt: skip
    assert f">{word}<" in page
    assert ("alidation" in page) == (word == "Validation")
    assert curve([epoch(0), epoch(1)], held="<b>").count("&lt;b&gt;") == 2


def words(figure):
    from matplotlib.text import Text

    return " ".join(one.get_text() for one in figure.findobj(Text))


def test_pictures():
    curves = {
        "part": "test", "rows": 34,
        "reliability": {"ece": 0.03, "bins": [{"confidence": 0.9, "accuracy": 0.9, "rows": 3}]},
    }  # fmt: skip
    sheet = Sheet(trace(
        ("run", "start", {"source": "t.csv", "target": {"name": "y"}}), ("predict", "curves", curves),
        ("predict", "calibration", CALIBRATION), ("predict", "baselines", baselines()),
    ))  # fmt: skip
    assert "before calibration: 0.060" in words(results.reliability(sheet))
    drawn = words(results.baselines(sheet))
    assert "this model" in drawn
    assert "logistic regression" not in drawn  # it was left out
    assert results.baselines(Sheet([])) is None
