"""The observation of an epoch: a sentence that follows from its numbers by fixed rules.

`observe` tries the rules in this order, takes the first one that holds, and appends the additions
that hold. Let t0, t1, ... be the training losses and v0, v1, ... the validation losses (epoch 0 is
the untrained network), `best` the lowest validation loss so far, and "fell by x %" the change
relative to the epoch before. The watched loss is the validation loss, or the training loss where
there are no validation rows.

| observation | rule |
|---|---|
| starting ... | epoch 0; "moderate" if the loss is at most 1.25 times that of guessing |
| diverging | a loss is not finite, or the training loss is over 2 x t0 |
| learning rate too high | the training loss rose by over 5 % now and in one of the two epochs before, or by over 50 % at once; not where it is under 2 % of t0 |
| overfitting since epoch N | v has been above `best` for 3 epochs, is over 2 % above it, and t fell since; N follows the best epoch |
| finite again | the watched loss of the epoch before was not a finite number |
| falling fast | the watched loss fell by 25 % or more |
| good progress | it fell by 8 % or more |
| converging | it fell by 2 % or more |
| plateau | it has been within 2 % for 5 epochs, and the metric does no better than the baseline |
| stable | it changed by less than 2 % ("with strong performance" when accuracy is 0.9 or R2 0.8, and above the baseline) |
| rising | it rose by 2 % or more |

Additions:

| addition | rule |
|---|---|
| below the majority baseline | the validation accuracy (or RMSE) is worse than that of the baseline |
| class X is never predicted | the class has validation rows, and is predicted for none |
| memorising | the training loss is under a third of the validation loss, which is over 2 % above `best` |
| validation is noisy | in the last 6 epochs the validation loss turned at least 4 times, by 5 % or more each |

and if the doctor looked at the epoch's first step (`doctor.py`), for layers that are not frozen:

| addition | rule |
|---|---|
| units are dead | half of a hidden layer's units or more are zero for every row of the batch |
| saturated | over half of a layer's outputs lie within 2 % of the bounds of its activation |
| saturated logits | their standard deviation is over 15, and the loss is over half that of guessing |
| gradients vanish | the first layer's gradient is not zero, but under a thousandth of the output layer's (root mean squares) |
| gradients explode | a layer's gradient is over 10, or over 100 times its earlier median (of at least 3 that are not zero) |
| does not move | the step changed a layer's weights by less than a millionth of their norm, though its gradient is not zero and another layer changed (a skipped step, or the first of a warm-up, changes none) |
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Self

from sightline.errors import listed, shorten

LEAST_LOSS = 1e-12
"""The divisor if a loss is zero."""
LEARNED = 0.02
"""Below this share of the untrained network's loss, a rising training loss is ignored."""
MAX_HEALTH_NOTES = 3
"""The largest number of additions about layers."""


@dataclass(frozen=True)
class LayerNumbers:
    """The doctor's numbers of one layer in one step.

    Attributes:
        name: The module's name, such as "hidden.0".
        title: The layer's name in the lesson.
        mean, deviation: Mean and standard deviation of its outputs over the batch. A hidden layer's
            outputs are those of its activation, before dropout and before the residual is added.
        zero: Share of outputs that are exactly zero.
        dead: Share of units that are zero for every row of the batch.
        saturated: Share of outputs near a bound of its activation; None if that has no bounds.
        weight_norm: Norm of its parameters; 0 if it has none.
        gradient: Root mean square of its gradient; 0 if it has none.
        update: Norm of the step's change of its parameters, relative to their norm.
        frozen: Whether it has parameters and all of them are frozen.

    Example:
        >>> from sightline.train.observations import LayerNumbers
        >>> LayerNumbers("hidden.0", "Linear + ReLU", 0.4, 0.6, 0.5, 0.0, None, 3.0, 1e-3, 1e-2, False).zero
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
    """The numbers of one epoch that `observe` looks at.

    Attributes:
        train_loss: Mean training loss.
        valid_loss: Mean validation loss, or None without validation rows.
        metric: Validation (else training) accuracy, or RMSE in the target's unit.
        never_predicted: Classes that have validation rows but are predicted for none.
        train_metric: Training accuracy, or RMSE, over the epoch's own batches.
        layers: The doctor's numbers of its first step; empty if the doctor did not look.
        score: The value of `eval_metric`, negated if higher is better; None without one.

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
    layers: tuple[LayerNumbers, ...] = ()
    score: float | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields back from JSON."""
        layers = tuple(LayerNumbers(**layer) for layer in data["layers"])
        return cls(**{**data, "never_predicted": tuple(data["never_predicted"]), "layers": layers})

    @property
    def watched(self) -> float:
        """The validation loss, or the training loss if there is none."""
        return self.train_loss if self.valid_loss is None else self.valid_loss

    @property
    def criterion(self) -> float:
        """The number that decides which epoch is best, lower is better: `eval_metric`, else the loss."""
        return self.watched if self.score is None else self.score


@dataclass(frozen=True)
class Yardstick:
    """What an epoch's numbers are compared with.

    Attributes:
        classification: Whether the metric is accuracy (higher is better) or RMSE (lower).
        guess_loss: The loss of guessing: the entropy of the training class shares, or 1 for a
            scaled regression target.
        baseline: The metric of always predicting the majority class, or the mean.
        held: The name of the loss on rows held out: "validation" or "out-of-fold".
        warm: Whether training begins with the weights of an earlier model. Its training loss, without dropout, is
            then no measure for that of the epochs.

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
    warm: bool = False

    def beaten_by(self, metric: float) -> bool:
        """Return whether a metric is better than that of the baseline."""
        return metric > self.baseline if self.classification else metric < self.baseline

    def strong(self, metric: float) -> bool:
        """Return whether a metric is an accuracy of 0.9 or an R2 of 0.8, and better than the baseline."""
        if self.classification:
            return metric >= 0.9 and self.beaten_by(metric)
        return metric <= math.sqrt(0.2) * self.baseline and self.beaten_by(metric)


def observe(history: Sequence[EpochNumbers], yardstick: Yardstick) -> str:
    """Return the observation of the latest epoch, as a sentence.

    Args:
        history: Every epoch so far, the untrained network first.
        yardstick: What to compare its numbers with.

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
    additions = [
        *_additions(now, yardstick),
        *_trends(history, yardstick),
        *_health(history, yardstick),
    ]
    return "; ".join([main, *additions])


def _start(now: EpochNumbers, yardstick: Yardstick) -> str:
    if not math.isfinite(now.train_loss) or not math.isfinite(now.watched):
        return "starting with a loss that is not a finite number"
    moderate = now.watched <= 1.25 * yardstick.guess_loss
    return f"starting with {'moderate' if moderate else 'high'} loss"


def _trouble(history: Sequence[EpochNumbers], yardstick: Yardstick) -> str | None:
    now, first = history[-1].train_loss, history[0].train_loss
    train = [epoch.train_loss for epoch in history]
    if yardstick.warm:
        first, train = yardstick.guess_loss, train[1:]
    if not math.isfinite(now) or not math.isfinite(history[-1].watched):
        return "diverging: the loss is not a finite number"
    if now > 2 * first:
        whose = "of guessing" if yardstick.warm else "of the untrained network"
        return f"diverging: the training loss is over twice that {whose}"
    rises = [b > 1.05 * a for a, b in pairwise(train[-4:])]
    # A loss that is almost zero goes up and down by chance.
    not_learned = now > LEARNED * first and len(rises) > 0
    if not_learned and (now > 1.5 * train[-2] or (rises[-1] and sum(rises) >= 2)):
        return "learning rate too high: the training loss is rising"
    return _overfitting(history, yardstick)


def _overfitting(history: Sequence[EpochNumbers], yardstick: Yardstick) -> str | None:
    now = history[-1]
    if now.valid_loss is None:
        return None
    losses = [epoch.watched for epoch in history]
    # The last of equal losses: "above the best for 3 epochs" counts from it.
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
    change = (before.watched - now.watched) / max(before.watched, LEAST_LOSS)
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
        return (
            "plateau: the loss has hardly changed for 5 epochs, and is no better than the baseline"
        )
    return "stable with strong performance" if yardstick.strong(now.metric) else "stable"


def _additions(now: EpochNumbers, yardstick: Yardstick) -> list[str]:
    notes = []
    worse = (
        now.metric < yardstick.baseline
        if yardstick.classification
        else now.metric > yardstick.baseline
    )
    if worse:
        notes.append(
            "below the majority baseline"
            if yardstick.classification
            else "worse than the mean baseline"
        )
    if now.never_predicted:
        names = listed([shorten(name, 40) for name in now.never_predicted], 3)
        single = len(now.never_predicted) == 1
        notes.append(
            f"class{'' if single else 'es'} {names} {'is' if single else 'are'} never predicted"
        )
    return notes


def _trends(history: Sequence[EpochNumbers], yardstick: Yardstick) -> list[str]:
    now = history[-1]
    if now.valid_loss is None or not math.isfinite(now.valid_loss):
        return []
    notes = []
    best = min(e.watched for e in history if math.isfinite(e.watched))
    if now.train_loss < now.valid_loss / 3 and now.valid_loss > 1.02 * best:
        notes.append(f"memorising: the training loss is under a third of the {yardstick.held} loss")
    recent = [epoch.watched for epoch in history[-6:]]
    if len(history) > 6 and all(math.isfinite(loss) for loss in recent):
        steps = [(b - a) / max(a, LEAST_LOSS) for a, b in pairwise(recent)]
        turns = sum(a * b < 0 and min(abs(a), abs(b)) >= 0.05 for a, b in pairwise(steps))
        if turns >= 4:
            noisy = (
                "validation is noisy: its"
                if yardstick.held == "validation"
                else "noisy: the out-of-fold"
            )
            notes.append(f"{noisy} loss goes up and down by 5 % or more")
    return notes


def _health(history: Sequence[EpochNumbers], yardstick: Yardstick) -> list[str]:
    """Return what the doctor's numbers of this epoch show."""
    now = history[-1]
    learning = [layer for layer in now.layers if layer.weight_norm and not layer.frozen]
    if not learning:
        return []
    first, last = learning[0], learning[-1]
    notes = []
    weighted = [index for index, layer in enumerate(now.layers) if layer.weight_norm]
    for index, layer in enumerate(now.layers[:-1]):
        # Before the first weights, a zero unit is only a feature's bin without a row in the batch.
        if layer.dead >= 0.5 and not layer.frozen and index >= weighted[0]:
            notes.append(f"{round(100 * layer.dead)} % of {layer.name}'s units are dead")
        if layer.saturated is not None and layer.saturated > 0.5:
            notes.append(
                f"{layer.name} is saturated: {round(100 * layer.saturated)} % of its outputs are near a bound"
            )
    logits = now.layers[weighted[-1]]
    if (
        yardstick.classification
        and logits.deviation > 15
        and now.watched > yardstick.guess_loss / 2
    ):
        notes.append(f"saturated logits: their standard deviation is {logits.deviation:.3g}")
    if len(learning) > 1 and 0 < first.gradient < last.gradient / 1000:
        notes.append(
            f"gradients vanish: that of {first.name} is {first.gradient / last.gradient:.1e} times that of "
            f"{last.name}"
        )
    for layer in learning:
        earlier = [
            old.gradient for epoch in history[:-1] for old in epoch.layers
            if old.name == layer.name and old.gradient > 0  # 0 when it was frozen
        ]  # fmt: skip
        usual = sorted(earlier)[len(earlier) // 2] if len(earlier) >= 3 else math.inf
        if layer.gradient > 10 or layer.gradient > 100 * usual:
            notes.append(f"gradients explode: that of {layer.name} is {layer.gradient:.3g}")
            break
    moves = any(layer.update for layer in learning)
    for layer in learning:
        if moves and layer.gradient > 0 and layer.update < 1e-6:
            notes.append(
                f"{layer.name} does not move: a step changes its weights by {layer.update:.1e} of their norm"
            )
            break
    return notes[:MAX_HEALTH_NOTES]
