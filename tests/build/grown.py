"""Small tables, and trees, forests, kernel and nearest-neighbours models fitted to them."""

import numpy as np
import torch

from sightline.build.boosting import fit_trees
from sightline.build.forests import fit_forest
from sightline.build.kernel_fit import fit_kernel
from sightline.build.neighbors_fit import fit_neighbors

SMALL = {"iterations": 10, "min_rows": 5, "leaves": 8}


def table(rows=300, numbers=3, codes=2, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, numbers)).astype(np.float32)
    c = random.integers(0, 6, size=(rows, codes)).astype(np.int32)
    score = (x[:, 0] if numbers else 0) + (1.5 * (c[:, 0] % 2) if codes else 0)
    return x, c, score + random.normal(size=rows) * 0.3


def asked(kind, rows=300, numbers=3, codes=2):
    """Return a table, its target and the number of outputs."""
    x, c, score = table(rows, numbers, codes)
    target, outputs = {
        "binary": ((score > 0.7).astype(np.int64), 2),
        "three": (np.digitize(score, [0.2, 1.2]).astype(np.int64), 3),
        "five": (np.digitize(score, [0, 0.5, 1, 1.5]).astype(np.int64), 5),
        "number": (score.astype(np.float32), 1),
    }[kind]
    return x, c, target, outputs


def grown(kind="binary", rows=300, numbers=3, codes=2, folds=3, weight=None, **options):
    x, c, target, outputs = asked(kind, rows, numbers, codes)
    fitted = fit_trees(
        x, c, target, np.arange(rows) % folds, classification=outputs > 1, outputs=outputs,
        weight_N=weight, **{**SMALL, **options},
    )  # fmt: skip
    return fitted, torch.from_numpy(x), torch.from_numpy(c), target


def grown_forest(kind="binary", rows=300, numbers=3, codes=2, folds=3, weight=None, **options):
    x, c, target, outputs = asked(kind, rows, numbers, codes)
    fitted = fit_forest(
        x, c, target, np.arange(rows) % folds, classification=outputs > 1, outputs=outputs,
        weight_N=weight, **{"trees": 10, **options},
    )  # fmt: skip
    return fitted, torch.from_numpy(x), torch.from_numpy(c), target


def fitted_kernel(kind="binary", rows=300, numbers=3, codes=2, folds=3, weight=None, **options):
    x, c, target, outputs = asked(kind, rows, numbers, codes)
    fitted = fit_kernel(
        x, c, target, np.arange(rows) % folds, classification=outputs > 1, outputs=outputs,
        weight_N=weight, **options,
    )  # fmt: skip
    return fitted, torch.from_numpy(x), torch.from_numpy(c), target


def fitted_neighbors(kind="binary", rows=120, numbers=3, codes=2, folds=3, weight=None, **options):
    x, c, target, outputs = asked(kind, rows, numbers, codes)
    fitted = fit_neighbors(
        x, c, target, np.arange(rows) % folds, classification=outputs > 1, outputs=outputs,
        weight_N=weight, **{"epochs": 2, **options},
    )  # fmt: skip
    return fitted, torch.from_numpy(x), torch.from_numpy(c), target
