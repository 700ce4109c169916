import re

import sightline as sl
from sightline.lesson import lesson


def body(run, stage, type_):
    (record,) = run.find(stage, type_)
    return record.body


def stages(run):
    return {record.body["name"]: record.body for record in run.find("lesson", "stage")}


def texts(run):
    for record in run.records:
        if record.stage == "lesson" and record.type != "begin":
            said = record.body
            yield from (v for v in said.values() if isinstance(v, str))
            for question in said.get("questions", ()):
                yield from (question["question"], question["why"], *question["answers"].values())


def test_the_lesson_is_as_long_as_it_says(run):
    words = len(" ".join(texts(run)).split())
    assert 0.75 * lesson.WORDS <= words <= 1.25 * lesson.WORDS
    assert body(run, "lesson", "opening")["minutes"] == round(lesson.WORDS / 200)


def test_five_stages_in_order(run):
    assert [record.body["number"] for record in run.find("lesson", "begin")] == [1, 2, 3, 4, 5]
    assert list(stages(run)) == ["load", "prepare", "build", "train", "predict"]
    for stage in stages(run).values():
        texts = {"number", "name", "title", "came_in", "done", "came_out", "caption"}
        lists = {"facts", "shapes", "maths", "terms"}
        assert set(stage) == texts | lists
        assert all(stage[part] for part in stage)
    for begun in run.find("lesson", "begin"):
        assert set(begun.body) == {"number", "name", "title", "code"}
        assert all(set(block) == {"title", "code"} for block in begun.body["code"])
        assert len(begun.body["code"]) == (2 if begun.body["name"] == "train" else 1)
    order = [(r.stage, r.type) for r in run.records]
    assert order.index(("lesson", "opening")) < order.index(("lesson", "begin"))
    assert order.index(("lesson", "insight")) < order.index(("lesson", "quiz"))


def numbers_in(text):
    return {word.replace(",", "") for word in re.findall(r"\d[\d,]*(?:\.\d+)?", text)}


def test_the_numbers_told_are_those_of_the_records(run):
    told = stages(run)
    split, batch = body(run, "load", "split"), body(run, "load", "batch")
    table, plan = body(run, "load", "table"), body(run, "train", "plan")
    assert {str(table["rows"]), str(len(table["columns"]))} <= numbers_in(told["load"]["came_in"])
    assert {str(split["train"]), str(batch["batch_size"])} <= numbers_in(told["load"]["came_out"])
    assert batch["sentence"] in told["load"]["caption"]
    assert (
        sum(split[part] for part in ("train", "valid", "test")) + table["dropped"] == table["rows"]
    )
    assert plan["batch_size"] == batch["batch_size"]

    network, end = body(run, "build", "network"), body(run, "train", "end")
    counted = sum(parameter.numel() for parameter in run.model.network.parameters())
    assert network["parameters"] == end["parameters"] == counted
    assert f"{counted:,} parameters" in told["build"]["done"]
    assert f"{end['steps']:,} updates" in told["train"]["done"]
    assert end["steps"] == plan["steps_per_epoch"] * run.epochs[-1].number
    first, last = run.epochs[0], run.epochs[-1]
    ends = f"from {first.train_loss:.3f} before training to {last.train_loss:.3f} in epoch {last.number}, "
    assert ends in told["train"]["caption"]
    best = run.epochs[end["best_epoch"]]
    kept = f"in epoch {best.number}" if best.number else "before training"
    assert f"{kept}, whose weights were kept" in told["train"]["caption"]
    seen = run.find("train", "step")[-1].body
    assert f"was {seen['weight_before']:.5f}" in told["train"]["done"]
    assert f"became {seen['weight_after']:.5f}" in told["train"]["done"]

    example, metrics = body(run, "predict", "example"), run.metrics
    assert f"Row {example['row']:,}," in told["predict"]["caption"]
    assert f"{metrics['rows']:,} {metrics['part']} rows" in told["predict"]["caption"]
    if "accuracy" in metrics:
        assert f"{metrics['accuracy']:.3f}" in told["predict"]["caption"]
        assert f"{metrics['baseline']['accuracy']:.3f}" in told["predict"]["caption"]
        right = example["explanation"]["prediction"] == example["truth"]
        assert ("(right: it is" in told["predict"]["caption"]) == right
        shown = [round(float(p), 2) for p in example["explanation"]["probabilities"]]
        assert f"1 row x {len(shown)} probabilities {shown}" == told["predict"]["came_out"]
    else:
        assert f"{metrics['rmse']:,.0f}" in told["predict"]["caption"]


def test_a_row_of_training_is_not_called_unseen(runs):
    assert "never saw" not in stages(runs["unwatched"])["predict"]["done"]
    assert "a training row" in stages(runs["unwatched"])["predict"]["caption"]
    assert "never saw" in stages(runs["classes"])["predict"]["done"]


def test_words_alone_are_not_called_scaled_numbers(runs):
    told = stages(runs["words"])["prepare"]
    assert told["caption"].startswith("Each category has a code of its own")
    assert "Numbers were" not in told["done"]


def test_the_insight_names_dynamic_graphs_and_differentiation(run):
    said = body(run, "lesson", "insight")
    assert said["title"] == "Key insight"
    assert "graph is dynamic" in said["text"]
    assert "Automatic differentiation" in said["text"]
    assert "runs in production" in said["text"]


def test_a_long_target_name_is_cut():
    table = {"columns": [{"role": "feature"}], "name": "t", "rows": 1}
    said = lesson.opening(table, {"name": "n" * 5000, "task": "regression", "classes": []})
    assert len(said["title"]) < 150
    assert len(said["paragraph"]) < 800


def test_a_step_whose_loss_was_not_finite_is_told():
    """Numbers that are not finite are text in a trace."""
    plan = {"device": "cpu", "device_reason": "as requested", "batch_size": 2, "steps_per_epoch": 1}
    epoch = {"number": 0, "train_loss": "NaN", "metrics": {"train_accuracy": 0.5}}
    end = {"best_epoch": 0, "steps": 1, "parameters": 3, "stopped": "all done"}
    seen = {
        "step": 1, "weight": "w", "weight_before": 0.5, "gradient": "NaN", "weight_after": 0.5,
        "update": "NaN",
    }  # fmt: skip
    told = lesson.train_stage(plan, [epoch], end, {"task": "classification"}, seen)
    assert "its gradient nan, and it became 0.50000." in told["done"]
    assert "with its gradient, not against" not in told["done"]


def test_the_optimizer_is_not_called_what_it_is_not(penguins, tmp_path):
    made = sl.fit(
        penguins,
        "species",
        run=tmp_path / "a",
        optimizer="sgd",
        network="MLP",
        epochs=1,
        quiet=True,
        device="cpu",
    )
    assert not any("AdamW" in text for text in texts(made))
