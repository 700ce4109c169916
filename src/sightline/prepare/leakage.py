"""Target leakage: find features that alone predict the target almost perfectly."""

from __future__ import annotations

import numpy as np

from sightline.prepare.prepared import Prepared

SAMPLE_ROWS = 2_000
ROWS_PER_CLASS = 20
FEWEST_ROWS = 40
MOST_CHECKED_COLUMNS = 2_000
LEAVES = 64
MIN_ERROR_REMOVED = 0.98
"""A column is reported if it removes at least this share of the error of a constant prediction."""
MOST_REPORTED = 5


def leaks(prepared: Prepared, seed: int = 0) -> list[str]:
    """Report the columns that alone predict the target, in one sentence each.

    Half of a sample of the training rows fits a small model of one column, and the other half scores
    it: a decision tree for numbers (with very many classes, the class of the nearest number), the most
    frequent class or the mean for categories. A value that occurs in one row only, such as a name,
    predicts nothing there.

    Args:
        prepared: From `sightline.prepare`.
        seed: Seed of the random sample.

    Returns:
        At most five sentences, the strongest column first; for more than 2,000 columns one sentence
        that says they were not checked.

    Example:
        >>> import numpy as np, sightline as sl
        >>> from sightline.prepare.leakage import leaks
        >>> x = np.random.default_rng(0).normal(size=200)
        >>> table = sl.read({"size": x, "paid": np.where(x > 0, "late", "never").tolist(),
        ...                  "y": (x > 0).tolist(), "noise": x[::-1].copy()})
        >>> print(leaks(sl.prepare(sl.split(table, "y")))[0].split(":")[0])
        size alone predicts y in 100.0 % of 80 rows
    """
    train, target = prepared.train, prepared.spec.target
    rows = (
        np.arange(len(train.row))
        if train.weight is None
        else np.flatnonzero(train.weight.numpy() > 0)
    )
    many = len(target.classes) > LEAVES
    most = max(SAMPLE_ROWS, ROWS_PER_CLASS * len(target.classes))
    rows = np.random.default_rng(seed).permutation(rows)[:most]
    if len(rows) < FEWEST_ROWS:
        return []
    spec = prepared.spec
    columns = [*(f.column for f in spec.numeric), *(f.column for f in spec.categorical)]
    names = list(dict.fromkeys(columns))
    if len(names) > MOST_CHECKED_COLUMNS:
        return [f"{len(names):,} columns are too many to check each for target leakage"]
    numeric, codes = train.numeric.numpy()[rows], train.categorical.numpy()[rows]
    y, half = train.target.numpy()[rows], len(rows) // 2
    leaking = []
    for name in names:
        at = [i for i, f in enumerate(prepared.spec.numeric) if f.column == name]
        if at and many:
            predicted = _by_nearest(numeric[:, at[0]], y, half)
        elif at:
            predicted = _by_tree(numeric[:, at], y, half, bool(target.classes))
        else:
            index = next(i for i, f in enumerate(prepared.spec.categorical) if f.column == name)
            predicted = _by_code(codes[:, index], y, half, bool(target.classes))
        score, removed = _score(predicted, y[:half], y[half:], bool(target.classes))
        if removed >= MIN_ERROR_REMOVED:
            leaking.append((removed, name, score))
    leaking.sort(reverse=True)
    how_well = "in {:.1f} % of" if target.classes else "with an R2 of {:.4f} on"
    return [
        f"{name} alone predicts {target.name} {how_well.format(score)} {len(rows) - half:,} rows: if it is not "
        f"known before {target.name} is, leave it out (drop=, --drop)"
        for _, name, score in leaking[:MOST_REPORTED]
    ]


def _by_tree(x: np.ndarray, y: np.ndarray, half: int, classes: bool) -> np.ndarray:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    model = DecisionTreeClassifier if classes else DecisionTreeRegressor
    tree = model(max_leaf_nodes=LEAVES if classes else 4 * LEAVES, random_state=0)
    return np.asarray(tree.fit(x[:half], y[:half]).predict(x[half:]))


def _by_nearest(x: np.ndarray, y: np.ndarray, half: int) -> np.ndarray:
    """Predict the class of the nearest number; a tree for very many classes would be slow."""
    order = np.argsort(x[:half], kind="stable")
    known = x[:half][order]
    right = np.searchsorted(known, x[half:]).clip(1, half - 1)
    nearer_left = x[half:] - known[right - 1] <= known[right] - x[half:]
    return np.asarray(y[:half][order][right - nearer_left])


def _by_code(codes: np.ndarray, y: np.ndarray, half: int, classes: bool) -> np.ndarray:
    fitted, scored = codes[:half], codes[half:]
    if not classes:
        sums = np.bincount(fitted, y[:half], codes.max() + 1)
        counts = np.bincount(fitted, minlength=codes.max() + 1)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), y[:half].mean())
        return np.asarray(means[scored])
    table = np.zeros((codes.max() + 1, int(y.max()) + 1))
    np.add.at(table, (fitted, y[:half]), 1)
    table[table.sum(axis=1) == 0] = np.bincount(y[:half], minlength=table.shape[1])
    return np.asarray(table.argmax(axis=1)[scored])


def _score(
    predicted: np.ndarray, fitted: np.ndarray, truth: np.ndarray, classes: bool
) -> tuple[float, float]:
    """Return the accuracy in percent (or R2), and the share of a constant prediction's error removed."""
    if not classes:
        spread = float(np.square(truth - fitted.mean()).mean())
        r2 = 1 - float(np.square(truth - predicted).mean()) / spread if spread else 0.0
        return r2, 2 * r2 - 1  # reported from an R2 of 0.99 on
    right = float((predicted == truth).mean())
    base = float((truth == np.bincount(fitted).argmax()).mean())
    return 100 * right, (right - base) / (1 - base) if base < 1 else 0.0
