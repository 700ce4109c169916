"""The quiz of a run: three questions about its own numbers, drawn from its seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from sightline.contracts.schema import written
from sightline.errors import counted, shorten
from sightline.lesson.facts import held_out
from sightline.lesson.wording import short

Body = Mapping[str, Any]
Question = tuple[str, str, list[str], str]
"""A question, its right answer, three wrong ones, and why."""


def quiz(
    plan: Body,
    split: Body,
    epochs: Sequence[Body],
    end: Body,
    example: Body,
    target: Body,
    seed: int,
) -> dict[str, Any]:
    """Ask three questions about this run, each with four answers and an explanation.

    Only the seed decides which questions are asked and the order of their answers. So both are the same
    on every processor, however it rounds a loss.

    Args:
        plan, split, end, example: The bodies of `train/plan`, `load/split`, `train/end` and
            `predict/example`.
        epochs: The bodies of all `train/epoch`.
        target: What is predicted.
        seed: Seed of the run.

    Returns:
        The body of `lesson/quiz`.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", network="MLP", epochs=1, quiet=True)
        >>> question = run.find("lesson", "quiz")[0].body["questions"][0]  # what this gave
        >>> question["answers"][question["right"]]
        '9'
    """
    generator = random.Random(seed)  # noqa: S311 - the order of answers is no secret
    questions = [
        steps_question(plan, split),
        graph_question(),
        best_question(epochs, end, held_out(split))
        if generator.random() < 0.5 and chosen_by_loss(epochs, end)
        else answer_question(example, target),
    ]
    return {"questions": [_shuffled(*question, generator) for question in questions]}


def steps_question(plan: Body, split: Body) -> Question:
    """Ask for the number of weight updates in an epoch."""
    steps, rows, size = plan["steps_per_epoch"], split["train"], plan["batch_size"]
    wrong = [f"{n:,}" for n in (rows, 1, size, steps * 2, steps + 7, steps + 13) if n != steps]
    return (
        f"There are {rows:,} training rows, in batches of {size}. How often were the weights updated in "
        "one epoch?",
        f"{steps:,}",
        list(dict.fromkeys(wrong))[:3],
        f"The weights are updated once per batch, and {rows:,} rows make "
        f"{counted(steps, 'batch', 'batches')} of up to {size}.",
    )


def graph_question() -> Question:
    """Ask why a dynamic graph is useful."""
    return (
        "PyTorch's graphs are dynamic. Why does that matter here?",
        "The graph is built anew by each forward pass, so the network can be changed between two steps",
        [
            "The graph is compiled once before training, and must not change afterwards",
            "It lets the network be trained without any gradients",
            "It makes sure that the loss falls in every epoch",
        ],
        "Each forward pass runs ordinary Python and records its operations, and the backward pass goes "
        "through that record once. The next forward pass may differ: a layer can be widened, frozen or "
        "replaced during training.",
    )


def chosen_by_loss(epochs: Sequence[Body], end: Body) -> bool:
    """Return whether the best epoch has the lowest loss; `eval_metric` may have chosen another one."""
    losses = [epoch["valid_loss"] for epoch in epochs if epoch["valid_loss"] is not None]
    return not losses or float(epochs[end["best_epoch"]]["valid_loss"]) <= min(map(float, losses))


def best_question(epochs: Sequence[Body], end: Body, held: str) -> Question:
    """Ask why the weights of the best epoch were kept; `held` names the loss that chose it."""
    best = end["best_epoch"]
    if epochs[best]["valid_loss"] is None:
        return (
            "There were no validation rows in this run. What can nobody notice without them?",
            "That the network memorises its training rows and predicts new ones worse",
            [
                "That the training loss falls",
                "How many parameters the network has",
                "How often the weights were updated",
            ],
            "Only rows that the weights were not fitted to show the difference between learning and memorising.",
        )
    return (
        f"The weights of epoch {best} were kept. Why those?",
        f"The {held} loss was lowest there, {short(epochs[best]['valid_loss'])}",
        [
            "The training loss is always lowest there",
            "The weights of the last epoch are always kept",
            "The test rows were predicted best there",
        ],
        (
            "Out of fold, each row is predicted by members that did not learn from it, so that loss may "
            "choose the epoch."
            if held == "out-of-fold"
            else "The validation loss may choose the epoch, because training does not use these rows."
        )
        + " The test rows must not choose anything: they are there to measure how good the model is.",
    )


def answer_question(example: Body, target: Body) -> Question:
    """Ask where the example's prediction comes from, or which unit it has."""
    explained = example["explanation"]
    if target["task"] == "classification":
        top = max(float(p) for p in explained["probabilities"])
        name = shorten(written(explained["prediction"]), 40)
        return (
            f"For row {example['row']:,} the model predicted {name}. Why?",
            f"{name} has the largest probability of all classes, {top:.2f}",
            [
                "It is the class of the most similar training row",
                "A rule for this class was written by hand",
                "The class was drawn at random",
            ],
            "The output layer gives a logit for each class, softmax turns the logits into probabilities that "
            "add up to 1, and the class with the largest one is predicted.",
        )
    return (
        f"For row {example['row']:,} the model predicted {short(explained['prediction'])}. In which unit?",
        f"In the unit of {shorten(target['name'], 40)}, as in the table",
        ["In standard deviations", "As a probability between 0 and 1", "As a class number"],
        "Training standardises the target, so that the loss starts near 1. Prediction reverses that scaling.",
    )


def _shuffled(
    question: str, right: str, wrong: list[str], why: str, generator: random.Random
) -> dict[str, Any]:
    answers = [right, *wrong]
    generator.shuffle(answers)
    letters = "ABCD"
    return {
        "question": question,
        "answers": dict(zip(letters, answers, strict=True)),
        "right": letters[answers.index(right)],
        "why": why,
    }
