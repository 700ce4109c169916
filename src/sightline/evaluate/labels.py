"""Whether labels look wrong: how often the rows that a model is surest of have another label.

Letters: N rows, K classes.
"""

from __future__ import annotations

import numpy as np

FEWEST_SURE = 100
"""With fewer rows in the surest quarter, nothing is said."""
LEAST_WRONG = 0.1
"""Nothing is said if fewer of the surest rows than this have another label..."""
LEAST_AGAINST_ALL = 0.8
"""... or if their share is less than this part of the share of all rows: then the model knows what it does not know..."""
LEAST_LEARNED = 0.25
"""... or if the model removes less than this share of the errors of always predicting the most frequent class."""


def doubtful_labels(name: str, values: np.ndarray, truth: np.ndarray) -> str | None:
    """Say that labels may be wrong, if a model that has learned something errs even where it is surest.

    Where classes overlap, a model is unsure between them, and the rows that it is surest of are nearly all right.
    Labels that are wrong at random are among the surest rows as often as among the others. A column that decides
    and is missing looks the same. The idea is that of confident learning (Northcutt, Jiang and Chuang 2021).

    Args:
        name: Of the model, such as "gradient boosting".
        values: Its probabilities for rows that it did not learn from, [N, K].
        truth: The rows' class numbers, int64 [N].

    Returns:
        A sentence, or None where nothing speaks for wrong labels.

    Example:
        >>> import numpy as np
        >>> from sightline.evaluate.labels import doubtful_labels
        >>> random = np.random.default_rng(0)
        >>> positive = random.uniform(size=2_000)  # the probability of class 1
        >>> values, truth = np.stack([1 - positive, positive], axis=1), random.uniform(size=2_000) < positive
        >>> doubtful_labels("this model", values, truth.astype(int)) is None
        True
        >>> swapped = (positive > 0.5) ^ (random.uniform(size=2_000) < 0.3)
        >>> doubtful_labels("this model", values, swapped.astype(int)).split(":")[0]
        'Labels may be wrong'
    """
    quarter = len(truth) // 4
    if quarter < FEWEST_SURE:
        return None
    wrong = values.argmax(axis=1) != truth
    guessed = 1 - np.bincount(truth).max() / len(truth)
    surest = np.argsort(-values.max(axis=1), kind="stable")[:quarter]
    share, of_all = float(wrong[surest].mean()), float(wrong.mean())
    # Two standard errors less: a share may be large by chance.
    least = share - 2 * (share * (1 - share) / quarter) ** 0.5
    if (
        of_all > (1 - LEAST_LEARNED) * guessed
        or least < LEAST_WRONG
        or share < LEAST_AGAINST_ALL * of_all
    ):
        return None
    return (
        f"Labels may be wrong: of the {quarter:,} rows that {name} is surest of, {100 * share:.0f} % have another label, "
        f"nearly as many as of all rows ({100 * of_all:.0f} %); or a column that decides is missing."
    )
