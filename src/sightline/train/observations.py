"""Put an epoch's numbers into words that say no more than the numbers do.

`observe` tries the rules in this order and returns the first that holds, then adds what else is
true of the epoch. Let t0, t1, ... be the training losses, v0, v1, ... the validation losses
(epoch 0 is the untrained network), `best` the lowest validation loss so far, and "fell by x %"
the change from the epoch before, as a share of it. The watched loss is the validation loss, or
the training loss where there are no validation rows.

| observation | rule |
|---|---|
| starting ... | epoch 0; "moderate" when the loss is at most 1.25 times guessing's |
| diverging | a loss is not finite, or the training loss is over 2 x t0 |
| learning rate too high | the training loss rose by over 5 % now and in one of the two epochs before, or by over 50 % at once; not where it is under 2 % of t0 |
| overfitting since epoch N | v has been above `best` for 3 epochs, is over 2 % above it, and t fell since; N follows the best epoch |
| finite again | the watched loss was not a finite number the epoch before |
| falling fast | the watched loss fell by 25 % or more |
| good progress | it fell by 8 % or more |
| converging | it fell by 2 % or more |
| plateau | it has been within 2 % for 5 epochs, and the metric does no better than the baseline |
| stable | it changed by less than 2 % ("with strong performance" when accuracy is 0.9 or R2 0.8, and above the baseline) |
| rising | it rose by 2 % or more |

Added, as far as true:

| addition | rule |
|---|---|
| below the majority baseline | the validation accuracy (or RMSE) is worse than the baseline's |
| class X is never predicted | no validation row is given a class that has validation rows |
| memorising | the training loss is under a third of the validation loss, which is over 2 % above `best` |
| validation is noisy | in the last 6 epochs the validation loss turned at least 4 times, by 5 % or more each |

and where the doctor looked at the epoch's first step (`doctor.py`), for layers that learn:

| addition | rule |
|---|---|
| units are dead | half of a hidden layer's units or more are zero for every row of the batch |
| saturated | over half of a layer's outputs lie within 2 % of the bounds of its activation |
| saturated logits | their standard deviation is over 15, and the loss is above half of guessing's |
| gradients vanish | the first layer's gradient is under a thousandth of the output layer's, not zero (root mean square each) |
| gradients explode | a layer's gradient is over 10, or over 100 times its median in the looks before (3 or more, zeros left out) |
| does not move | the step changed a layer by less than a millionth of its size, though its gradient is not zero and it changed another layer (a skipped step, or the first of a warm-up, changes none) |
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Self

from sightline.errors import listed, shorten

TINY = 1e-12
"""In place of a loss of zero, of which no change is a share."""
LEARNED = 0.02
"""Below this share of the untrained network's loss, a rise of the training loss means nothing."""
MOST_SAID = 3


@dataclass(frozen=True)
class Layer:
    """One layer in one step.

    Attributes:
        name: Of the module, such as "hidden.0".
        title: As the lesson says it.
        mean, deviation: Of its outputs over the batch; a hidden layer's are its activation's,
            before dropout and before what came in is added.
        zero: Share of outputs that are exactly zero.
        dead: Share of units that are zero for every row of the batch.
        saturated: Share of outputs near a bound of its activation; None where it has none.
        weight_norm: Of its parameters; 0 where it has none.
        gradient: Root mean square of its gradient, 0 where it has none.
        update: Norm of the step's change of its parameters, as a share of their own norm.
        frozen: Whether it has parameters and none of them learns.

    Example:
        >>> from sightline.train.observations import Layer
        >>> Layer("hidden.0", "Linear + ReLU", 0.4, 0.6, 0.5, 0.0, None, 3.0, 1e-3, 1e-2, False).zero
        0.5
    """

    name: str
    title: str
    mean: float
    deviation: float
    zero: float
    dead: float
    saturated: float | None
    weight_norm: float
    gradient: float
    update: float
    frozen: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class EpochNumbers:
    """What `observe` looks at of one epoch.

    Attributes:
        train_loss: Mean training loss.
        valid_loss: Mean validation loss, or None without validation rows.
        metric: Validation (else training) accuracy, or RMSE in the target's unit.
        never_predicted: Classes with validation rows that no validation row is given.
        train_metric: Training accuracy, or RMSE, over the epoch's own batches.
        layers: What the doctor saw in one of its steps; empty where it did not look.
        score: What `eval_metric` gave, turned so that lower is better; None without one.

    Example:
        >>> from sightline.train.observations import EpochNumbers
        >>> EpochNumbers(0.5, None, 0.9).watched
        0.5
    """

    train_loss: float
    valid_loss: float | None
    metric: float
    never_predicted: tuple[str, ...] = ()
    train_metric: float | None = None
    layers: tuple[Layer, ...] = ()
    score: float | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields again after they have been through JSON."""
        layers = tuple(Layer(**layer) for layer in data["layers"])
        return cls(**{**data, "never_predicted": tuple(data["never_predicted"]), "layers": layers})

    @property
    def watched(self) -> float:
        """The loss that tells progress: validation where there is one."""
        return self.train_loss if self.valid_loss is None else self.valid_loss

    @property
    def judged(self) -> float:
        """What decides which epoch is best: `eval_metric` where there is one, else the loss."""
        return self.watched if self.score is None else self.score


@dataclass(frozen=True)
class Yardstick:
    """What the numbers are held against.

    Attributes:
        classification: Whether the metric is accuracy (higher is better) or RMSE (lower).
        guess_loss: The loss of guessing: the entropy of the training class shares, or 1 for a
            scaled regression target.
        baseline: The metric of the majority class or of the mean.
        held: What the loss of rows that are held out is called.

    Example:
        >>> from sightline.train.observations import Yardstick
        >>> yardstick = Yardstick(classification=True, guess_loss=1.1, baseline=0.4)
        >>> yardstick.beaten_by(0.5), yardstick.strong(0.5)
        (True, False)
    """

    classification: bool
    guess_loss: float
    baseline: float
    held: str = "validation"

    def beaten_by(self, metric: float) -> bool:
        """Is this metric better than the baseline's?"""
        return metric > self.baseline if self.classification else metric < self.baseline

    def strong(self, metric: float) -> bool:
        """Accuracy of 0.9, or R2 of 0.8, and better than the baseline."""
        if self.classification:
            return metric >= 0.9 and self.beaten_by(metric)
        return metric <= math.sqrt(0.2) * self.baseline and self.beaten_by(metric)


def observe(history: Sequence[EpochNumbers], yardstick: Yardstick) -> str:
    """Say in words what the latest epoch shows.

    Args:
        history: Every epoch so far, the untrained network first.
        yardstick: What to hold it against.

    Example:
        >>> from sightline.train.observations import EpochNumbers, Yardstick, observe
        >>> yardstick = Yardstick(classification=True, guess_loss=1.1, baseline=0.4)
        >>> history = [EpochNumbers(1.1, 1.1, 0.35), EpochNumbers(0.8, 0.6, 0.75)]
        >>> observe(history[:1], yardstick), observe(history, yardstick)
        ('starting with moderate loss; below the majority baseline', 'loss is falling fast')
    """
    now = history[-1]
    if len(history) == 1:
        main = _start(now, yardstick)
    else:
        main = _trouble(history, yardstick) or _progress(history, yardstick)
    said = [*_additions(now, yardstick), *_trends(history, yardstick), *_health(history, yardstick)]
    return "; ".join([main, *said])


def _start(now: EpochNumbers, yardstick: Yardstick) -> str:
    if not math.isfinite(now.train_loss) or not math.isfinite(now.watched):
        return "starting with a loss that is not a finite number"
    moderate = now.watched <= 1.25 * yardstick.guess_loss
    return f"starting with {'moderate' if moderate else 'high'} loss"


def _trouble(history: Sequence[EpochNumbers], yardstick: Yardstick) -> str | None:
    now, first = history[-1], history[0]
    train = [epoch.train_loss for epoch in history]
    if not math.isfinite(now.train_loss) or not math.isfinite(now.watched):
        return "diverging: the loss is not a finite number"
    if now.train_loss > 2 * first.train_loss:
        return "diverging: the training loss is over twice that of the untrained network"
    rises = [b > 1.05 * a for a, b in pairwise(train[-4:])]
    # Where next to nothing is left to learn, a loss goes up and down by chance.
    left = now.train_loss > LEARNED * first.train_loss
    if left and (now.train_loss > 1.5 * train[-2] or (rises[-1] and sum(rises) >= 2)):
        return "learning rate too high: the training loss is rising"
    return _overfitting(history, yardstick)


def _overfitting(history: Sequence[EpochNumbers], yardstick: Yardstick) -> str | None:
    now = history[-1]
    if now.valid_loss is None:
        return None
    losses = [epoch.watched for epoch in history]
    # Of equal losses the last: "above the best for 3 epochs" begins after it.
    best = min(
        reversed(range(len(losses))), key=lambda i: (not math.isfinite(losses[i]), losses[i])
    )
    since = len(history) - 1 - best
    if (
        since >= 3
        and now.valid_loss > 1.02 * losses[best]
        and now.train_loss < history[best].train_loss
    ):
        return (
            f"overfitting since epoch {best + 1}: {yardstick.held} loss has risen since, training loss has "
            "fallen"
        )
    return None


def _progress(history: Sequence[EpochNumbers], yardstick: Yardstick) -> str:
    now, before = history[-1], history[-2]
    if not math.isfinite(before.watched):
        return "the loss is a finite number again"
    change = (before.watched - now.watched) / max(before.watched, TINY)
    if change >= 0.25:
        return "loss is falling fast"
    if change >= 0.08:
        return "good progress"
    if change >= 0.02:
        return "converging"
    if change <= -0.02:
        which = "training" if now.valid_loss is None else yardstick.held
        return f"{which} loss rose from {before.watched:.3g} to {now.watched:.3g}"
    recent = [epoch.watched for epoch in history[-6:]]
    still = len(recent) == 6 and max(recent) <= 1.02 * min(recent)
    if still and not yardstick.beaten_by(now.metric):
        return "plateau: the loss has stood still for 5 epochs, no better than the baseline"
    return "stable with strong performance" if yardstick.strong(now.metric) else "stable"


def _additions(now: EpochNumbers, yardstick: Yardstick) -> list[str]:
    said = []
    worse = (
        now.metric < yardstick.baseline
        if yardstick.classification
        else now.metric > yardstick.baseline
    )
    if worse:
        said.append(
            "below the majority baseline"
            if yardstick.classification
            else "worse than the mean baseline"
        )
    if now.never_predicted:
        names = listed([shorten(name, 40) for name in now.never_predicted], 3)
        one = len(now.never_predicted) == 1
        said.append(f"class{'' if one else 'es'} {names} {'is' if one else 'are'} never predicted")
    return said


def _trends(history: Sequence[EpochNumbers], yardstick: Yardstick) -> list[str]:
    now = history[-1]
    if now.valid_loss is None or not math.isfinite(now.valid_loss):
        return []
    said = []
    best = min(e.watched for e in history if math.isfinite(e.watched))
    if now.train_loss < now.valid_loss / 3 and now.valid_loss > 1.02 * best:
        said.append(f"memorising: the training loss is under a third of the {yardstick.held} loss")
    recent = [epoch.watched for epoch in history[-6:]]
    if len(history) > 6 and all(math.isfinite(loss) for loss in recent):
        steps = [(b - a) / max(a, TINY) for a, b in pairwise(recent)]
        turns = sum(a * b < 0 and min(abs(a), abs(b)) >= 0.05 for a, b in pairwise(steps))
        if turns >= 4:
            noisy = (
                "validation is noisy: its"
                if yardstick.held == "validation"
                else "noisy: the out-of-fold"
            )
            said.append(f"{noisy} loss goes up and down by 5 % or more")
    return said


def _health(history: Sequence[EpochNumbers], yardstick: Yardstick) -> list[str]:
    """Say what the doctor's numbers of this epoch mean."""
    now = history[-1]
    learning = [layer for layer in now.layers if layer.weight_norm and not layer.frozen]
    if not learning:
        return []
    first, last = learning[0], learning[-1]
    said = []
    weighted = [place for place, layer in enumerate(now.layers) if layer.weight_norm]
    for place, layer in enumerate(now.layers[:-1]):
        # What stands before the first weights only lays the features out: a bin that no row is in.
        if layer.dead >= 0.5 and not layer.frozen and place >= weighted[0]:
            said.append(f"{round(100 * layer.dead)} % of {layer.name}'s units are dead")
        if layer.saturated is not None and layer.saturated > 0.5:
            said.append(
                f"{layer.name} is saturated: {round(100 * layer.saturated)} % of its outputs"
            )
    logits = now.layers[weighted[-1]]
    if (
        yardstick.classification
        and logits.deviation > 15
        and now.watched > yardstick.guess_loss / 2
    ):
        said.append(f"saturated logits: their standard deviation is {logits.deviation:.3g}")
    if len(learning) > 1 and 0 < first.gradient < last.gradient / 1000:
        said.append(
            f"gradients vanish: {first.name}'s is {first.gradient / last.gradient:.1e} of {last.name}'s"
        )
    for layer in learning:
        earlier = [
            old.gradient for epoch in history[:-1] for old in epoch.layers
            if old.name == layer.name and old.gradient > 0  # not of when it was frozen
        ]  # fmt: skip
        usual = sorted(earlier)[len(earlier) // 2] if len(earlier) >= 3 else math.inf
        if layer.gradient > 10 or layer.gradient > 100 * usual:
            said.append(f"gradients explode: {layer.name}'s is {layer.gradient:.3g}")
            break
    moves = any(layer.update for layer in learning)
    for layer in learning:
        if moves and layer.gradient > 0 and layer.update < 1e-6:
            said.append(
                f"{layer.name} does not move: a step changes it by {layer.update:.1e} of its size"
            )
            break
    return said[:MOST_SAID]
