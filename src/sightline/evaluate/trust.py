"""How far a model's probabilities can be trusted: calibration, prediction sets and intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.errors import counted, readable, spelled
from sightline.evaluate.curves import reliability
from sightline.metrics.measure import log_loss
from sightline.predict.calibration import perfect_ece
from sightline.predict.conformal import ALPHA

if TYPE_CHECKING:
    from sightline.predict.model import Model

NO_CHANGE = 0.02
"""A temperature whose logarithm is smaller than this changes the probabilities too little to explain."""
LARGEST_PERFECT_ECE = 0.1
"""If a perfectly calibrated model may have a larger error by chance, the rows are too few to judge."""


def measure_calibration(model: Model, values_NK: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Measure probabilities before and after temperature scaling, on rows that it was not fitted on.

    Args:
        model: A classifier with a blend.
        values_NK: Its calibrated probabilities for some rows.
        truth: int64 [N], the classes of these rows.

    Returns:
        `temperature`; `before` and `after`, each with `ece` (expected calibration error in 15 bins),
        `log_loss` and `points` of the reliability curve; `perfect_ece`, the error that a perfectly
        calibrated model stays below on 95 of 100 samples of this many rows.

    Example:
        >>> import sightline as sl
        >>> from sightline.evaluate.trust import measure_calibration
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> predictions = run.model.predictions("examples/penguins.csv")
        >>> truth, _ = run.model.truth(predictions)
        >>> body = measure_calibration(run.model, predictions.values, truth)
        >>> 0 <= body["after"]["ece"] <= 1
        True
    """
    assert model.blend is not None
    temperature = model.blend.temperature
    logits = np.log(values_NK.astype(np.float64).clip(np.finfo(np.float32).tiny)) * temperature
    logits -= logits.max(axis=1, keepdims=True)
    before = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    def measured(values: np.ndarray) -> dict[str, Any]:
        curve = reliability(values, truth)
        return {"ece": curve["ece"], "log_loss": log_loss(values, truth), "points": curve["bins"]}

    return {
        "temperature": temperature, "before": measured(before), "after": measured(values_NK),
        "perfect_ece": perfect_ece(values_NK),
    }  # fmt: skip


def calibration_sentence(body: Mapping[str, Any]) -> str:
    """Describe the body of a record `predict/calibration` in words.

    Example:
        >>> from sightline.evaluate.trust import calibration_sentence
        >>> parts = [{"name": "network", "share": 0.6}, {"name": "trees", "share": 0.4}]
        >>> calibration_sentence({"source": "900 validation rows", "parts": parts})
        'Weights fitted on 900 validation rows: network 60 %, trees 40 %.'
    """
    source = body["source"]
    shares = [f"{spelled(part['name'])} {round(100 * part['share'])} %" for part in body["parts"]]
    weights = f"Weights fitted on {source}: {', '.join(shares)}. " if len(shares) > 1 else ""
    if "temperature" not in body:
        return weights.strip() or f"Calibrated on {source}."
    return f"{weights}{_temperature_sentence(body)} {_error_sentence(body)}"


def by_class_sentence(classes: Sequence[tuple[str, int, float | None]]) -> str:
    """Name the classes that prediction sets cover least and most often; the promise holds for all rows together.

    Args:
        classes: Of each class its text, its rows, and the share of them whose set contains it.

    Example:
        >>> from sightline.evaluate.trust import by_class_sentence
        >>> by_class_sentence([("no", 90, 0.95), ("yes", 10, 0.6), ("never", 0, None)])
        ' By true class from 60.0 % (yes, 10 rows) to 95.0 % (no, 90 rows).'
        >>> by_class_sentence([("no", 90, 0.95), ("never", 0, None)])
        ''
    """
    seen = [(share, text, rows) for text, rows, share in classes if share is not None]
    if len(seen) < 2:
        return ""
    low, high = (
        f"{100 * share:.1f} % ({text}, {counted(rows, 'row')})"
        for share, text, rows in (min(seen), max(seen))
    )
    return f" By true class from {low} to {high}."


def _temperature_sentence(body: Mapping[str, Any]) -> str:
    """Describe the effect of the temperature on the probabilities."""
    temperature = body["temperature"]
    if abs(np.log(temperature)) < NO_CHANGE:
        effect = "leaves the probabilities almost as they were"
    elif temperature > 1:
        effect = "makes the probabilities less extreme, because the model was overconfident"
    else:
        effect = "makes the probabilities more extreme, because the model was underconfident"
    return f"Temperature {temperature:.3g} {effect}."


def _error_sentence(body: Mapping[str, Any]) -> str:
    """Compare the calibration error before and after, and with a perfectly calibrated model's."""
    before, after, perfect = body["before"]["ece"], body["after"]["ece"], body["perfect_ece"]
    limit = (
        f"A perfectly calibrated model stays below {readable(perfect, 2)} in 95 of 100 such samples"
    )
    if perfect > LARGEST_PERFECT_ECE:
        verdict = "the rows are too few to tell whether the probabilities are calibrated"
    elif after <= perfect:
        verdict = "no sign of miscalibration"
    else:
        verdict = "the probabilities are miscalibrated, so use them with care"
    return (
        f"On {counted(body['rows'], body['part'] + ' row')} the expected calibration error is "
        f"{readable(after, 2)} ({readable(before, 2)} before). {limit}: {verdict}."
    )


def conformal_output(model: Model, explanation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the prediction set or interval of an explained row, for records of rows.

    Args:
        model: Any model; one without conformal scores, or with too few for `ALPHA`, gives nothing.
        explanation: Of one row, from `Explanation.to_json`.

    Returns:
        `set`, the labels; or `interval`, [low, high] in the target's unit; or nothing.

    Example:
        >>> import sightline as sl
        >>> from sightline.evaluate.trust import conformal_output
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> row = {"island": "Dream", "bill_length_mm": 46.5, "bill_depth_mm": 17.9, "sex": None,
        ...        "flipper_length_mm": 192, "body_mass_g": 3500, "year": 2007}
        >>> list(conformal_output(run.model, run.model.explain(row).to_json()))
        ['set']
    """
    conformal = model.conformal
    if conformal is None or explanation["prediction"] is None:
        return {}
    if not conformal.allows(ALPHA, model.classification):
        return {}
    if model.task.classification:
        inside = conformal.sets(np.array([explanation["probabilities"]]), ALPHA)[0]
        return {
            "set": [
                label
                for label, included in zip(model.spec.target.shown, inside, strict=True)
                if included
            ]
        }
    return {
        "interval": conformal.interval(np.array([explanation["prediction"]]), ALPHA)[0].tolist()
    }
