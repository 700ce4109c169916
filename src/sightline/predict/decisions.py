"""From values to decisions: the class of each row, by the threshold or the largest probability.

Letters: N rows, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.contracts import Label, Spec, Target
from sightline.predict.threshold import Threshold


class Decisions:
    """What a model decides from its values, whatever computes them.

    Attributes:
        spec: The network's inputs and the target.
        threshold: For two classes, the probability from which a row is the positive class; None chooses
            the likelier class.
    """

    spec: Spec
    threshold: Threshold | None

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes in the order of `predict_proba`'s columns; empty for regression."""
        return self.spec.target.classes

    @property
    def classification(self) -> bool:
        """Whether the model predicts classes, and not a number."""
        return self.spec.target.task == "classification"

    def choose(self, values_NK: np.ndarray) -> np.ndarray:
        """Choose each row's class; see `sightline.predict.decisions.choose`."""
        return choose(self.spec.target, self.threshold, values_NK)

    def decode(self, values: np.ndarray) -> np.ndarray:
        """Turn probabilities [B, K] or numbers [B, 1] into labels or numbers [B]."""
        return decode(self.spec.target, self.threshold, values)


def choose(target: Target, threshold: Threshold | None, values_NK: np.ndarray) -> np.ndarray:
    """Choose each row's class: by the threshold where there is one, else the likeliest class.

    Args:
        target: Of the model.
        threshold: For two classes; or None.
        values_NK: Probabilities [N, K].

    Returns:
        Class numbers, int64 [N].

    Example:
        >>> import numpy as np
        >>> from sightline.contracts import Target
        >>> from sightline.predict.decisions import choose
        >>> from sightline.predict.threshold import Threshold
        >>> sick = Target("sick", "classification", ("no", "yes"), "yes")
        >>> values = np.array([[0.7, 0.3], [0.9, 0.1]])
        >>> choose(sick, None, values).tolist()
        [0, 0]
        >>> choose(sick, Threshold(0.25, "given", None, None, 0), values).tolist()
        [1, 0]
    """
    if threshold is None or target.positive is None:
        likeliest: np.ndarray = values_NK.argmax(axis=1)
        return likeliest
    index = target.classes.index(target.positive)
    return np.where(values_NK[:, index] >= threshold.value, index, 1 - index)


def decode(target: Target, threshold: Threshold | None, values: np.ndarray) -> np.ndarray:
    """Turn probabilities [N, K] or numbers [N, 1] into labels or numbers [N], in the target's own type.

    Example:
        >>> import numpy as np
        >>> from sightline.contracts import Target
        >>> from sightline.predict.decisions import decode
        >>> decode(Target("sick", "classification", (False, True), True), None, np.array([[0.2, 0.8]]))
        array([ True])
    """
    if target.task == "regression":
        return np.asarray(values[:, 0], np.float64)
    labels: np.ndarray = label_array(target.classes)[choose(target, threshold, values)]
    return labels


def label_array(classes: tuple[Label, ...]) -> np.ndarray:
    """Return labels as an array of their own type: int64, float64, bool, or object for text.

    Example:
        >>> from sightline.predict.decisions import label_array
        >>> label_array((False, True)).dtype, label_array(("a", "b")).dtype
        (dtype('bool'), dtype('O'))
    """
    types = {type(label) for label in classes}
    if types == {str}:
        return np.array(classes, object)
    return np.array(classes)
