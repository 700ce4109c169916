import re

import numpy as np
import pytest

import sightline as sl
from sightline.lesson import lesson


@pytest.fixture(scope="module")
def runs(tmp_path_factory, penguins):
    """Lessons of different kinds: classes, a number, two classes, no validation, words alone."""
    folder = tmp_path_factory.mktemp("lessons")
    random = np.random.default_rng(0)
    words = {"a": random.choice(["x", "y", "z"], 200).tolist(),
             "b": random.choice(["p", "q"], 200).tolist()}  # fmt: skip
    words["kind"] = [f"{a}!" for a in words["a"]]
    small = {"network": "MLP", "baselines": False, "epochs": 3, "quiet": True, "device": "cpu"}
    return {
        "classes": sl.fit(penguins, "species", run=folder / "classes", **small),
        "number": sl.fit(penguins, "body_mass_g", run=folder / "number", seed=1, **small),
        "binary": sl.fit(
            penguins, "sex", positive="female", run=folder / "binary", seed=2, **small
        ),
        "unwatched": sl.fit(
            penguins, "species", valid=0, test=0, run=folder / "none", seed=3, **small
        ),
        "words": sl.fit(words, "kind", run=folder / "words", **small),
        "demo": sl.demo(run=folder / "demo", quiet=True),
    }


KINDS = ["classes", "number", "binary", "unwatched", "words", "demo"]


@pytest.fixture(params=KINDS)
def run(request, runs):
    return runs[request.param]


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


def test_three_questions_with_four_answers_each(run):
    questions = body(run, "lesson", "quiz")["questions"]
    assert len(questions) == 3
    for question in questions:
        assert sorted(question["answers"]) == list("ABCD")
        assert len(set(question["answers"].values())) == 4
        assert question["right"] in "ABCD"
        assert question["why"]
    assert sum("dynamic" in question["question"] for question in questions) == 1


def test_the_right_letters_are_right(run):
    steps, graph, third = (
        (q["question"], q["answers"][q["right"]], q["answers"])
        for q in body(run, "lesson", "quiz")["questions"]
    )
    assert steps[1] == f"{body(run, 'train', 'plan')['steps_per_epoch']:,}"
    assert graph[1].startswith("The graph is built anew by each forward pass")
    example, end = body(run, "predict", "example"), body(run, "train", "end")
    if "were kept. Why" in third[0]:
        losses = [epoch.valid_loss for epoch in run.epochs]
        assert losses.index(min(losses)) == end["best_epoch"]
        assert third[1] == f"The validation loss was lowest there, {min(losses):.3f}"
    elif "no validation rows" in third[0]:
        assert run.epochs[0].valid_loss is None
        assert third[1].startswith("That the network learns its training rows by heart")
    elif "unit" in third[0]:
        assert third[1] == "In the unit of body_mass_g, as it stands in the table"
    else:
        said = example["explanation"]
        best = max(said["probabilities"])
        assert said["classes"][said["probabilities"].index(best)] == said["prediction"]
        assert third[1] == (
            f"{said['prediction']} has the largest probability of all classes, {best:.2f}"
        )


def test_every_third_question_is_asked_of_some_run(runs):
    asked = {body(run, "lesson", "quiz")["questions"][2]["question"][:7] for run in runs.values()}
    assert len(asked) >= 2


@pytest.mark.parametrize(
    ("rows", "size"), [(1, 1), (7, 1), (13, 1), (100, 100), (14, 7), (1000, 32), (2, 2), (20, 1)]
)
def test_wrong_counts_differ_from_the_right_one(rows, size):
    steps = -(-rows // size)
    plan = {"steps_per_epoch": steps, "batch_size": size}
    _, right, wrong, _ = lesson._steps_question(plan, {"train": rows})
    assert right == f"{steps:,}"
    assert len({right, *wrong}) == 4


def test_answers_are_shuffled_by_the_seed(runs):
    letters = {run.find("lesson", "quiz")[0].body["questions"][1]["right"] for run in runs.values()}
    assert len(letters) > 1


def test_the_last_digits_of_a_loss_do_not_change_the_quiz():
    """A processor may round otherwise: what is asked, and where the right answer stands, stay."""
    plan, split = {"steps_per_epoch": 9, "batch_size": 32}, {"train": 276}
    example = {"row": 5, "explanation": {"prediction": "a", "probabilities": [0.9, 0.1]}}
    target = {"task": "classification"}

    def quiz(seed, loss):
        epochs = [{"train_loss": loss, "valid_loss": loss}] * 2
        return lesson.quiz(plan, split, epochs, {"best_epoch": 1}, example, target, seed)

    quizzes = [quiz(seed, 0.25) for seed in range(20)]
    assert quizzes == [quiz(seed, 0.25 + 2**-50) for seed in range(20)]
    letters = [[question["right"] for question in asked["questions"]] for asked in quizzes]
    assert letters[0] == list("CAB")  # as docs/lesson.md and docs/start.md type them
    assert len({tuple(one) for one in letters}) > 10
    assert len({asked["questions"][2]["question"] for asked in quizzes}) == 2


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
    plan = {"device": "cpu", "device_reason": "as asked", "batch_size": 2, "steps_per_epoch": 1}
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
