"""Columns that give the answer away: what is known only after the fact is no feature."""

from __future__ import annotations

import numpy as np

from sightline.prepare.prepared import Prepared

ROWS = 2_000
ROWS_A_CLASS = 20
FEWEST = 40
MOST_COLUMNS = 2_000
LEAVES = 64
CLOSED = 0.98
"""Share of the error of knowing nothing that a column must take away to be named."""
TOLD = 5


def leaks(prepared: Prepared, seed: int = 0) -> list[str]:
    """Name the columns that alone tell the target, in a sentence each.

    A small decision tree (or, of a category, its most frequent class or mean; of very many classes the
    nearest number's class) learns from one column in half of a sample of the training rows and is
    scored on the other half. A code of each row's own,
    such as a name, tells nothing there.

    Args:
        prepared: From `sightline.prepare`.
        seed: Decides the sample.

    Example:
        >>> import numpy as np, sightline as sl
        >>> from sightline.prepare.leakage import leaks
        >>> x = np.random.default_rng(0).normal(size=200)
        >>> table = sl.read({"size": x, "paid": np.where(x > 0, "late", "never").tolist(),
        ...                  "y": (x > 0).tolist(), "noise": x[::-1].copy()})
        >>> print(leaks(sl.prepare(sl.split(table, "y")))[0].split(":")[0])
        size alone tells y in 100.0 % of 80 rows
    """
    train, target = prepared.train, prepared.spec.target
    rows = (
        np.arange(len(train.row))
        if train.weight is None
        else np.flatnonzero(train.weight.numpy() > 0)
    )
    many = len(target.classes) > LEAVES
    most = max(ROWS, ROWS_A_CLASS * len(target.classes))
    rows = np.random.default_rng(seed).permutation(rows)[:most]
    if len(rows) < FEWEST:
        return []
    spec = prepared.spec
    columns = [*(f.column for f in spec.numeric), *(f.column for f in spec.categorical)]
    names = list(dict.fromkeys(columns))
    if len(names) > MOST_COLUMNS:
        return [f"{len(names):,} columns are too many to look for one that gives the answer away"]
    numeric, codes = train.numeric.numpy()[rows], train.categorical.numpy()[rows]
    y, half = train.target.numpy()[rows], len(rows) // 2
    found = []
    for name in names:
        at = [i for i, f in enumerate(prepared.spec.numeric) if f.column == name]
        if at and many:
            guessed = _by_nearest(numeric[:, at[0]], y, half)
        elif at:
            guessed = _by_tree(numeric[:, at], y, half, bool(target.classes))
        else:
            place = next(i for i, f in enumerate(prepared.spec.categorical) if f.column == name)
            guessed = _by_code(codes[:, place], y, half, bool(target.classes))
        told, closed = _score(guessed, y[:half], y[half:], bool(target.classes))
        if closed >= CLOSED:
            found.append((closed, name, told))
    found.sort(reverse=True)
    what = "in {:.1f} % of" if target.classes else "with an R2 of {:.4f} on"
    return [
        f"{name} alone tells {target.name} {what.format(told)} {len(rows) - half:,} rows: if it is not known "
        f"before {target.name} is, leave it out (drop=, --drop)"
        for _, name, told in found[:TOLD]
    ]


def _by_tree(x: np.ndarray, y: np.ndarray, half: int, classes: bool) -> np.ndarray:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    made = DecisionTreeClassifier if classes else DecisionTreeRegressor
    tree = made(max_leaf_nodes=LEAVES if classes else 4 * LEAVES, random_state=0)
    return np.asarray(tree.fit(x[:half], y[:half]).predict(x[half:]))


def _by_nearest(x: np.ndarray, y: np.ndarray, half: int) -> np.ndarray:
    """Guess the class of the nearest number: so many classes would make a tree large and slow."""
    order = np.argsort(x[:half], kind="stable")
    known = x[:half][order]
    right = np.searchsorted(known, x[half:]).clip(1, half - 1)
    nearer_left = x[half:] - known[right - 1] <= known[right] - x[half:]
    return np.asarray(y[:half][order][right - nearer_left])


def _by_code(codes: np.ndarray, y: np.ndarray, half: int, classes: bool) -> np.ndarray:
    learned, asked = codes[:half], codes[half:]
    if not classes:
        sums = np.bincount(learned, y[:half], codes.max() + 1)
        counts = np.bincount(learned, minlength=codes.max() + 1)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), y[:half].mean())
        return np.asarray(means[asked])
    table = np.zeros((codes.max() + 1, int(y.max()) + 1))
    np.add.at(table, (learned, y[:half]), 1)
    table[table.sum(axis=1) == 0] = np.bincount(y[:half], minlength=table.shape[1])
    return np.asarray(table.argmax(axis=1)[asked])


def _score(
    guessed: np.ndarray, learned: np.ndarray, truth: np.ndarray, classes: bool
) -> tuple[float, float]:
    """Say how right the guesses are (percent, or R2), and how much of the error is gone."""
    if not classes:
        spread = float(np.square(truth - learned.mean()).mean())
        r2 = 1 - float(np.square(truth - guessed).mean()) / spread if spread else 0.0
        return r2, 2 * r2 - 1  # an R2 of 0.99 is as good as the answer
    right = float((guessed == truth).mean())
    base = float((truth == np.bincount(learned).argmax()).mean())
    return 100 * right, (right - base) / (1 - base) if base < 1 else 0.0
