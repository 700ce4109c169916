"""A row that a user typed into the page, explained by a model: the body of `predict/asked`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sightline.errors import UserError, shorten
from sightline.evaluate.trust import conformal_output
from sightline.trace.records import rounded
from sightline.train.commands import Command

if TYPE_CHECKING:
    from sightline.predict.model import Model

ERROR_CHARACTERS = 600
"""A longer error message is shortened."""


def answer(
    model: Callable[[], Model],
    question: Command,
    step: int | None,
    epoch: int | None,
    sentence: str,
) -> dict[str, Any]:
    """Explain a row; an error is returned in the answer and never raised.

    Args:
        model: Makes or loads the model; an exception that it raises is returned in the answer too.
        question: A command of the kind "explain".
        step, epoch: The step and epoch of the weights that answer; None if unknown.
        sentence: The same in words.

    Returns:
        `id` (the question's), `step`, `epoch`, `said`, `row`, `explanation` (None with an error),
        `set` or `interval` if the model has them, and `error` in words (None without one).

    Example:
        >>> import sightline as sl
        >>> from sightline.evaluate.typed_row import answer
        >>> from sightline.train.commands import Command
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> question = Command("explain", id="1", row={"island": "Dream"})
        >>> answer(lambda: run.model, question, None, 2, "after the end")["error"]
        "a dict of columns has no columns 'bill_length_mm', ..."
    """
    explanation, error = None, None
    conformal: dict[str, Any] = {}
    try:
        answering = model()
        exact = answering.explain(dict(question.row)).to_json()
        error = exact["error"]
        if error is None:
            explanation = {**rounded(exact), "raw": exact["raw"]}
            conformal = conformal_output(answering, exact)
    except UserError as problem:
        error = str(problem)
    except Exception as problem:  # noqa: BLE001 - no row may end training or the server
        error = f"{type(problem).__name__}: {problem}"
    return {
        "id": question.id, "step": step, "epoch": epoch, "said": sentence, "row": dict(question.row),
        "explanation": explanation, **conformal,
        "error": None if error is None else shorten(error, ERROR_CHARACTERS),
    }  # fmt: skip
