"""What keeps a training alive: steps without a finite loss, and memory that runs short."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sightline.contracts import Batch
from sightline.errors import listed, shorten

if TYPE_CHECKING:
    from sightline.train.training import Training

MOST_IN_A_ROW = 5
LOWER = 0.1
ROWS_NAMED = 5


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory is short, on a device or on the processor.

    Example:
        >>> import torch
        >>> from sightline.train.health import out_of_memory
        >>> out_of_memory(torch.OutOfMemoryError("CUDA out of memory")), out_of_memory(KeyError())
        (True, False)
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def count_bad(training: Training, batch: Batch) -> None:
    """Count a step without a finite loss, which changed no weight; too many in a row act.

    The first time, the weights go back to the end of the last good epoch, the optimizer forgets
    its momentum and the learning rate falls to a tenth. The second time, training stops and says
    which rows and columns the last batch had.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared)
        >>> from sightline.train.health import count_bad
        >>> count_bad(training, next(training.steps()).batch)
        >>> training.events[-1].said
        'step 1 has a loss that is not a finite number: skipped'
    """
    progress = training.progress
    progress.bad_in_a_row += 1
    progress.skipped += 1
    if progress.bad_in_a_row == 1:
        said = f"step {progress.steps:,} has a loss that is not a finite number: skipped"
        training.tell("skipped", said, {"rows": batch.row[:ROWS_NAMED].tolist()})
    _mend_buffers(training)
    if progress.bad_in_a_row >= MOST_IN_A_ROW:
        fail(training, f"{progress.bad_in_a_row} steps in a row had no finite loss", batch)


def fail(training: Training, why: str, batch: Batch | None) -> None:
    """Go back to the last good weights with a lower learning rate; the second time, stop.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared)
        >>> from sightline.train.health import fail
        >>> fail(training, "for example", None)
        >>> training.events[-1].said
        'for example: back to the weights of epoch 0, learning rate 0.0001'
    """
    progress = training.progress
    training.good.put_back(training.network)
    progress.bad_in_a_row = 0
    if progress.rollbacks:
        where = "" if batch is None else f"; {blame(training, batch)}"
        training.stop(f"stopped in epoch {progress.epoch}: {why}, a second time{where}")
        return
    progress.rollbacks += 1
    rate = training.learning_rate.now * LOWER
    training.forget_momentum()
    training.learning_rate.set(rate)
    training.tell(
        "rollback",
        f"{why}: back to the weights of epoch {progress.good_epoch}, learning rate {rate:.3g}",
        {"epoch": progress.good_epoch, "learning_rate": rate},
    )


def blame(training: Training, batch: Batch) -> str:
    """Name the rows whose loss is not finite under the good weights, and their odd columns.

    Odd is a number that is not finite, or else the largest there is.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared)
        >>> from sightline.train.health import blame
        >>> prepared.train.numeric[5, 0] = float("nan")
        >>> blame(training, prepared.train).partition(";")[2]
        ' the columns bill_length_mm have numbers that are not finite'
    """
    network, spec = training.network, training.prepared.spec
    mode = network.training
    network.eval()
    with torch.no_grad():
        logits = network(batch.numeric, batch.categorical).float()
        losses = training.task.losses(logits, batch.target)
    network.train(mode)
    bad = ~losses.isfinite()
    bad = bad.any(dim=1) if bad.dim() == 2 else bad
    which = "whose loss is not a finite number"
    if not bad.any():
        bad = torch.ones_like(bad)
        which = "of the batch, none of which is amiss by itself"
    rows = batch.row[bad]
    said = f"rows {listed([f'{int(row):,}' for row in rows], ROWS_NAMED)} {which}"
    if batch.numeric.shape[1] == 0:
        return said
    values = batch.numeric[bad]
    odd = (~values.isfinite()).any(dim=0)
    if odd.any():
        places = odd.nonzero()[:, 0].tolist()
        what = "have numbers that are not finite"
    else:
        places = values.abs().amax(dim=0).topk(min(3, values.shape[1])).indices.tolist()
        what = "have their largest numbers"
    names = ", ".join(shorten(spec.numeric[place].name, 40) for place in places[:ROWS_NAMED])
    return f"{said}; the columns {names} {what}"


def _mend_buffers(training: Training) -> None:
    """Put back buffers, such as a BatchNorm's means, that a bad batch has spoiled."""
    for own, kept in zip(training.network.buffers(), training.good.network.buffers(), strict=True):
        if own.is_floating_point() and not own.isfinite().all():
            own.copy_(kept)
