"""Recovery: steps whose loss is not finite, and memory that runs out."""

from __future__ import annotations

import torch

from sightline.contracts import Batch
from sightline.errors import listed, shorten
from sightline.train.state import TrainingState

MAX_BAD_IN_A_ROW = 5
"""This many consecutive steps without a finite loss cause a rollback."""
ROLLBACK_FACTOR = 0.1
"""The factor by which a rollback lowers the learning rate."""
ROWS_NAMED = 5


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means out of memory, on the device or on the CPU.

    Example:
        >>> import torch
        >>> from sightline.train.health import out_of_memory
        >>> out_of_memory(torch.OutOfMemoryError("CUDA out of memory")), out_of_memory(KeyError())
        (True, False)
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def count_bad_step(state: TrainingState, batch: Batch) -> str | None:
    """Count a step that was skipped because its loss is not finite; after five in a row, roll back.

    The first time, training is rolled back: weights of the last good epoch, no momentum, a tenth
    of the learning rate. The second time, training must stop.

    Returns:
        Why training must stop, with the rows and columns of the batch; None while it goes on.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared)
        >>> from sightline.train.health import count_bad_step
        >>> count_bad_step(training.state, next(training.steps()).batch)
        >>> training.events[-1].said
        'step 1 has a loss that is not a finite number: skipped'
    """
    progress = state.progress
    progress.bad_in_a_row += 1
    progress.skipped += 1
    if progress.bad_in_a_row == 1:
        state.tell(
            "skipped", f"step {progress.steps:,} has a loss that is not a finite number: skipped",
            {"rows": batch.row[:ROWS_NAMED].tolist()},
        )  # fmt: skip
    _restore_buffers(state)
    if progress.bad_in_a_row < MAX_BAD_IN_A_ROW:
        return None
    return roll_back(state, f"{progress.bad_in_a_row} steps in a row had no finite loss", batch)


def roll_back(state: TrainingState, why: str, batch: Batch | None) -> str | None:
    """Go back to the last good weights with a lower learning rate, once.

    Returns:
        Why training must stop, where it was rolled back before; else None.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared)
        >>> from sightline.train.health import roll_back
        >>> roll_back(training.state, "for example", None)
        >>> training.events[-1].said
        'for example: back to the weights of epoch 0, learning rate 0.0001'
    """
    progress = state.progress
    state.good.put_back(state.network)
    progress.bad_in_a_row = 0
    if progress.rollbacks:
        where = "" if batch is None else f"; {name_bad_rows(state, batch)}"
        return f"stopped in epoch {progress.epoch}: {why}, a second time{where}"
    progress.rollbacks += 1
    rate = state.learning_rate.now * ROLLBACK_FACTOR
    state.forget_momentum()
    state.learning_rate.set(rate)
    state.tell(
        "rollback",
        f"{why}: back to the weights of epoch {progress.good_epoch}, learning rate {rate:.3g}",
        {"epoch": progress.good_epoch, "learning_rate": rate},
    )
    return None


def name_bad_rows(state: TrainingState, batch: Batch) -> str:
    """Name the rows whose loss is not finite under the good weights, and the columns to look at.

    Those are the columns with numbers that are not finite, or else with the largest numbers.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared)
        >>> from sightline.train.health import name_bad_rows
        >>> prepared.train.numeric[5, 0] = float("nan")
        >>> name_bad_rows(training.state, prepared.train).partition(";")[2]
        ' the columns bill_length_mm have numbers that are not finite'
    """
    bad, which = _bad_rows(state, batch)
    rows = batch.row[bad]
    sentence = f"rows {listed([f'{int(row):,}' for row in rows], ROWS_NAMED)} {which}"
    if batch.numeric.shape[1] == 0:
        return sentence
    values = batch.numeric[bad]
    not_finite = (~values.isfinite()).any(dim=0)
    if not_finite.any():
        columns = not_finite.nonzero()[:, 0].tolist()
        what = "have numbers that are not finite"
    else:
        columns = values.abs().amax(dim=0).topk(min(3, values.shape[1])).indices.tolist()
        what = "have their largest numbers"
    features = state.prepared.spec.numeric
    names = ", ".join(shorten(features[i].name, 40) for i in columns[:ROWS_NAMED])
    return f"{sentence}; the columns {names} {what}"


def _bad_rows(state: TrainingState, batch: Batch) -> tuple[torch.Tensor, str]:
    """Return which rows [B] have a loss that is not finite (all, if none has), and what they are."""
    network = state.network
    mode = network.training
    network.eval()
    with torch.no_grad():
        logits = network(batch.numeric, batch.categorical).float()
        losses = state.data.task.losses(logits, batch.target)
    network.train(mode)
    bad = ~losses.isfinite()
    bad = bad.any(dim=1) if bad.dim() == 2 else bad
    if bad.any():
        return bad, "whose loss is not a finite number"
    return torch.ones_like(bad), "of the batch, each of which alone has a finite loss"


def _restore_buffers(state: TrainingState) -> None:
    """Restore buffers, such as a BatchNorm's means, that a bad batch made infinite or NaN."""
    good = state.good.network.buffers()
    for own, kept in zip(state.network.buffers(), good, strict=True):
        if own.is_floating_point() and not own.isfinite().all():
            own.copy_(kept)
