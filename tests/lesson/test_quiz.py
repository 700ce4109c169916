"""The quiz: right answers, four different ones, drawn from the seed alone."""

import pytest

from sightline.lesson import quiz


def body(run, stage, type_):
    (record,) = run.find(stage, type_)
    return record.body


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
        assert third[1].startswith("That the network memorises its training rows")
    elif "unit" in third[0]:
        assert third[1] == "In the unit of body_mass_g, as in the table"
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
    _, right, wrong, _ = quiz.steps_question(plan, {"train": rows})
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

    def made(seed, loss):
        epochs = [{"train_loss": loss, "valid_loss": loss}] * 2
        return quiz.quiz(plan, split, epochs, {"best_epoch": 1}, example, target, seed)

    quizzes = [made(seed, 0.25) for seed in range(20)]
    assert quizzes == [made(seed, 0.25 + 2**-50) for seed in range(20)]
    letters = [[question["right"] for question in asked["questions"]] for asked in quizzes]
    assert letters[0] == list("CAB")  # as docs/lesson.md and docs/start.md type them
    assert len({tuple(one) for one in letters}) > 10
    assert len({asked["questions"][2]["question"] for asked in quizzes}) == 2
