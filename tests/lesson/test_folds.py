"""What the lesson, its quiz and its facts say of a run with folds, with parts and with calibration."""

from sightline.lesson import facts, lesson, quiz

FOLDS = {
    "train": 276,
    "valid": 0,
    "test": 34,
    "folds": 5,
    "sentence": "276 training rows in 5 folds",
}
VALID = {"train": 242, "valid": 34, "test": 34, "folds": 0, "sentence": "242 training rows"}
EXPLAINED = {
    "probabilities": [0.2, 0.8], "prediction": "yes",
    "parts": [{"name": "network", "weight": 0.4}, {"name": "trees", "weight": 0.6}],
}  # fmt: skip
CALIBRATION = {
    "parts": [{"name": "network", "share": 0.4}, {"name": "trees", "share": 0.6}],
    "temperature": 1.25, "before": {"ece": 0.06}, "after": {"ece": 0.03},
}  # fmt: skip
SETS = {"alpha": 0.1, "coverage": 0.912, "mean_size": 1.3}


def epoch(number, valid=0.5):
    return {"number": number, "train_loss": 0.5, "valid_loss": valid,
            "metrics": {"train_accuracy": 0.5, "valid_accuracy": 0.25}}  # fmt: skip


def test_the_lesson_says_from_when_to_when_folds_go():
    table = {
        "name": "t.csv",
        "rows": 310,
        "columns": [{"role": "feature", "kind": "numeric", "name": "x"}],
    }
    batch = {"batch_size": 7, "batches": 1, "sentence": "7 rows, each with 1 number"}
    blocks = [
        {"rows": 138, "first": "2023-01-01", "last": "2023-06-30"},
        {"rows": 138, "first": "2023-07-01", "last": "2023-12-31"},
    ]
    split = {**FOLDS, "folds": 2, "blocks": blocks, "newest": 138, "newest_from_older": True}
    done = lesson.load_stage(table, split, batch)["done"]
    assert (
        "in time: 2023-01-01 to 2023-06-30 (138 rows), 2023-07-01 to 2023-12-31 (138 rows)." in done
    )
    assert "The 138 newest training rows stand for rows to come, since what predicts them" in done
    overlaps = lesson.load_stage(table, {**split, "newest_from_older": False}, batch)["done"]
    assert "although what predicts them has learned from newer rows, too" in overlaps
    few = lesson.load_stage(table, {**FOLDS, "blocks": blocks, "newest": 0}, batch)["done"]
    assert "2023-07-01 to 2023-12-31" in few
    assert "newest training rows" not in few
    assert "in time" not in lesson.load_stage(table, FOLDS, batch)["done"]


def test_the_lesson_says_out_of_fold():
    table = {
        "name": "t.csv",
        "rows": 310,
        "columns": [{"role": "feature", "kind": "numeric", "name": "x"}],
    }
    batch = {"batch_size": 7, "batches": 1, "sentence": "7 rows, each with 1 number"}
    with_folds, without = (
        lesson.load_stage(table, split, batch)["done"] for split in (FOLDS, VALID)
    )
    assert "out of fold" in with_folds
    assert "Validation and test rows are set aside" not in with_folds
    assert "Validation and test rows are set aside" in without
    plan = {"device": "cpu", "device_reason": "as requested", "batch_size": 2, "steps_per_epoch": 1}
    end = {"best_epoch": 1, "steps": 1, "parameters": 3, "stopped": "all done"}
    told = [lesson.train_stage(plan, [epoch(0), epoch(1)], end, {"task": "classification"}, None, split)
            for split in (FOLDS, VALID, None)]  # fmt: skip
    assert "out-of-fold accuracy from" in told[0]["caption"]
    assert told[1] == told[2]
    assert "validation accuracy from" in told[1]["caption"]


def test_the_quiz_says_out_of_fold():
    end, epochs = {"best_epoch": 1}, [epoch(0, 0.9), epoch(1, 0.4)]
    _, right, wrong, why = quiz.best_question(epochs, end, "out-of-fold")
    assert right == "The out-of-fold loss was lowest there, 0.400"
    assert "alidation" not in right + why + "".join(wrong)


def test_the_quiz_asks_for_the_lowest_loss_only_where_it_was_chosen_by():
    epochs = [epoch(0, 0.9), epoch(1, 0.4), epoch(2, 0.5)]
    assert quiz.chosen_by_loss(epochs, {"best_epoch": 1})
    assert not quiz.chosen_by_loss(epochs, {"best_epoch": 2})  # another metric was better there
    assert not quiz.chosen_by_loss([epoch(0, "NaN"), epoch(1, 0.4)], {"best_epoch": 0})
    assert quiz.chosen_by_loss([epoch(0, None)], {"best_epoch": 0})


def test_the_lesson_says_how_much_each_part_counts():
    network = {"inputs": 1, "features": 1}
    example = {"row": 1, "part": "a test row", "truth": "yes", "explanation": EXPLAINED}
    done = lesson.predict_stage(example, None, {"task": "classification"}, network)["done"]
    assert "The prediction combines the network at 40 % and the trees at 60 %." in done


def test_facts_of_a_run_with_folds():
    bodies = {
        "load/split": FOLDS, "load/batch": {"batches": 9, "batch_size": 32, "features": 7},
        "load/table": {"rows": 310, "columns": [], "bytes": 10},
    }  # fmt: skip
    found = dict(facts.facts("load", bodies, 1.0))
    assert found["folds"] == "5, held out in turn"
    assert "validation rows" not in found
    assert "validation rows" not in dict(facts.shapes("load", bodies))
    bodies["load/split"] = VALID
    assert dict(facts.facts("load", bodies, 1.0))["validation rows"] == "34"


def test_facts_of_trust():
    bodies = {
        "predict/metrics": {"rows": 34, "part": "test"}, "predict/example": {"row": 3, "part": "a test row"},
        "predict/calibration": CALIBRATION, "predict/sets": SETS, "predict/threshold": {"value": 0.31},
    }  # fmt: skip
    found = dict(facts.facts("predict", bodies, 1.0))
    assert found["weights of the parts"] == "network 40 %, trees 60 %"
    assert found["calibration error"] == "0.03 (before: 0.06)"
    assert found["sets at 90 %"] == "contain the truth in 91.2 % of rows"
    assert found["threshold"] == "0.31"
    wide = {**bodies, "predict/sets": {"alpha": 0.1, "coverage": 0.9, "mean_width": 2.0}}
    assert "intervals at 90 %" in dict(facts.facts("predict", wide, 1.0))
