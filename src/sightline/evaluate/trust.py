"""How far a model's probabilities can be trusted, as record bodies: calibration, sets, intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.errors import counted, readable
from sightline.evaluate.curves import reliability
from sightline.metrics.measure import log_loss
from sightline.predict.calibration import perfect_ece

if TYPE_CHECKING:
    from sightline.predict.model import Model

ALPHA = 0.1
"""Sets and intervals that are shown miss the truth in one row of ten."""
HARDLY = 0.02
"""A temperature that is so near to 1 (in its logarithm) changes nothing worth a reason."""
TOO_FEW = 0.1
"""The calibration error that a perfect model may show by chance, above which rows are too few to judge."""


def measure_calibration(model: Model, values_NK: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Measure probabilities before and after calibration, on rows that it did not see.

    Args:
        model: A classification with a blend.
        values_NK: What it predicts for some rows, calibrated.
        truth: int64 [N], their classes.

    Returns:
        `temperature`; `before` and `after`, each with `ece` (expected calibration error in 15 bins),
        `log_loss` and the reliability `points`; `perfect_ece`: what 95 of 100 perfectly calibrated
        models would stay below on so many rows.
    """
    assert model.blend is not None
    temperature = model.blend.temperature
    logits = np.log(values_NK.astype(np.float64).clip(np.finfo(np.float32).tiny)) * temperature
    logits -= logits.max(axis=1, keepdims=True)
    before = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    def told(values: np.ndarray) -> dict[str, Any]:
        found = reliability(values, truth)
        return {"ece": found["ece"], "log_loss": log_loss(values, truth), "points": found["bins"]}

    return {
        "temperature": temperature, "before": told(before), "after": told(values_NK),
        "perfect_ece": perfect_ece(values_NK),
    }  # fmt: skip


def calibration_sentence(said: Mapping[str, Any]) -> str:
    """Say in words what a record of calibration shows."""
    shares = [f"{part['name']} {round(100 * part['share'])} %" for part in said["parts"]]
    words = f"Weighed on {said['source']}: {', '.join(shares)}. " if len(shares) > 1 else ""
    if "temperature" not in said:
        return words.strip() or f"Measured against {said['source']}."
    before, after, perfect = said["before"]["ece"], said["after"]["ece"], said["perfect_ece"]
    if abs(np.log(said["temperature"])) < HARDLY:
        what = "hardly other than they were"
    elif said["temperature"] > 1:
        what = "softer, because they were too sure"
    else:
        what = "sharper, because they were not sure enough"
    words += (
        f"Temperature {said['temperature']:.3g} makes probabilities {what}. On {counted(said['rows'], said['part'] + ' row')} "
        f"the expected calibration error is {readable(after, 2)} ({readable(before, 2)} before). "
    )
    limit = (
        f"A perfectly calibrated model stays below {readable(perfect, 2)} in 95 of 100 such samples"
    )
    if perfect > TOO_FEW:
        return words + f"{limit}, by chance: so few rows cannot tell whether to believe them."
    if after <= perfect:
        return words + f"{limit}: nothing here speaks against believing them."
    return words + f"{limit}: believe them with care."


def conformal_output(model: Model, explained: Mapping[str, Any]) -> dict[str, Any]:
    """Return an explained row's set of classes, or its interval; empty where there is none."""
    conformal = model.conformal
    if conformal is None or explained["prediction"] is None or conformal.smallest_alpha > ALPHA:
        return {}
    if model.task.classification:
        chosen = conformal.sets(np.array([explained["probabilities"]]), ALPHA)[0]
        return {"set": [label for label, one in zip(model.classes, chosen, strict=True) if one]}
    return {"interval": conformal.interval(np.array([explained["prediction"]]), ALPHA)[0].tolist()}
