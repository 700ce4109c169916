"""Sentences about one explained row: members, calibration, prediction sets and intervals.

The terminal and the notebook print the same sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightline.errors import counted, listed
from sightline.views.format import brief, plain

Body = Mapping[str, Any]
EMPTY_SET = "empty, because no class is probable enough"


def explained_output(explanation: Body) -> tuple[int, str]:
    """Return which output of an explained row is described, and its name.

    For classes it is the predicted class; a regression has one output.

    Args:
        explanation: `Explanation.to_json()`.

    Returns:
        The index of the output and its name.

    Example:
        >>> from sightline.views.explained import explained_output
        >>> explained_output({"probabilities": [0.2, 0.8], "classes": ["no", "yes"], "prediction": "yes"})
        (1, 'yes')
    """
    if not explanation["probabilities"]:
        return 0, "the number"
    index = list(explanation["classes"]).index(explanation["prediction"])
    return index, plain(explanation["prediction"], 40)


def contribution_title(pushes: Body, width: int = 80) -> str:
    """Return the heading of a row's Shapley values.

    Example:
        >>> from sightline.views.explained import contribution_title
        >>> contribution_title({"unit": "probability", "of": "yes"})
        'Contribution of each column to the probability of yes'
    """
    output = plain(pushes["of"], width)
    of = f"the probability of {output}" if pushes["unit"] == "probability" else output
    return f"Contribution of each column to {of}"


def member_sentences(explanation: Body) -> list[str]:
    """Describe the predictions of the network's members, and what calibration changed.

    Args:
        explanation: `Explanation.to_json()`.

    Example:
        >>> from sightline.views.explained import member_sentences
        >>> member_sentences({"probabilities": [], "prediction": 3.0, "members": {
        ...     "mean": [3.1], "spread": [0.2], "values": [[2.9], [3.3]]}})
        ['2 members of the network: 3.100 on average, standard deviation 0.200, from 2.900 to 3.300.']
    """
    index, output = explained_output(explanation)
    sentences, members = [], explanation.get("members")
    if members:
        values = [float(member[index]) for member in members["values"]]
        of = f" for {output}" if explanation["probabilities"] else ""
        sentences.append(
            f"{counted(len(values), 'member')} of the network: {brief(members['mean'][index])} on average{of}, "
            f"standard deviation {brief(members['spread'][index])}, from {brief(min(values))} to "
            f"{brief(max(values))}."
        )
    if explanation.get("uncalibrated") and explanation.get("temperature") is not None:
        several = len(explanation.get("parts") or ()) > 1
        why = " (1 / the sum of the parts' weights)" if several else ""
        sentences.append(
            f"Calibration, temperature {brief(explanation['temperature'])}{why}: {output} "
            f"{brief(explanation['uncalibrated'][index])} -> {brief(explanation['probabilities'][index])}."
        )
    return sentences


def conformal_sentence(row: Body) -> str:
    """Return a row's prediction set or prediction interval as a sentence; "" if it has none.

    Args:
        row: The body of `predict/example`: `set` (class names) or `interval` (low, high).

    Example:
        >>> from sightline.views.explained import conformal_sentence
        >>> conformal_sentence({"set": ["no", "yes"]}), conformal_sentence({"interval": [1.0, 2.5]})
        ('Prediction set: no, yes', 'Prediction interval: 1.000 to 2.500')
        >>> conformal_sentence({})
        ''
    """
    if row.get("interval"):
        low, high = row["interval"]
        return f"Prediction interval: {brief(low)} to {brief(high)}"
    if "set" not in row:
        return ""
    names = listed([plain(label, 40) for label in row["set"]], 10)
    return f"Prediction set: {names or EMPTY_SET}"
