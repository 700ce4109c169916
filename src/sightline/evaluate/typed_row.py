"""A row that somebody typed, followed through a model, as the body of a `predict/asked` record."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sightline.errors import UserError, shorten
from sightline.evaluate.trust import conformal_output
from sightline.trace.records import rounded
from sightline.train.commands import Command

if TYPE_CHECKING:
    from sightline.predict.model import Model

LONGEST_ERROR = 600


def answer(
    model: Callable[[], Model], asked: Command, step: int | None, epoch: int | None, said: str
) -> dict[str, Any]:
    """Explain a row; whatever is wrong with it is said in `error`, never raised.

    Args:
        model: Makes or loads the model; what it raises is an answer too.
        asked: A command of the kind "explain".
        step, epoch: Of the weights that answer; None where it is not known.
        said: The same in a sentence.

    Example:
        >>> import sightline as sl
        >>> from sightline.evaluate.typed_row import answer
        >>> from sightline.train.commands import Command
        >>> run = sl.fit("examples/penguins.csv", target="species", epochs=2, quiet=True)
        >>> asked = Command("explain", id="1", row={"island": "Dream"})
        >>> answer(lambda: run.model, asked, None, 2, "after the end")["error"]
        "a dict of columns has no column 'bill_length_mm', ..."
    """
    explanation, error = None, None
    kept: dict[str, Any] = {}
    try:
        answering = model()
        data = answering.explain(dict(asked.row)).to_json()
        if (error := data["error"]) is None:
            explanation, kept = (
                {**rounded(data), "raw": data["raw"]},
                conformal_output(answering, data),
            )
    except UserError as wrong:
        error = str(wrong)
    except Exception as wrong:  # noqa: BLE001 - a strange row must end neither training nor server
        error = f"{type(wrong).__name__}: {wrong}"
    return {
        "id": asked.id, "step": step, "epoch": epoch, "said": said, "row": dict(asked.row),
        "explanation": explanation, **kept, "error": None if error is None else shorten(error, LONGEST_ERROR),
    }  # fmt: skip
