"""The rows and the fits of each lesson of what goes wrong: the fault, its cure, and sometimes a third fit.

The rows are made from a seed. Each fit has ordinary options of `sl.fit`; those that a lesson's fits have in common
are in `SHARED`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.build.mlp import MLP
from sightline.build.networks import NetworkMaker
from sightline.contracts import Spec
from sightline.lesson.fault_records import FaultName

Rows = dict[str, np.ndarray]
SHARED: Mapping[str, Any] = {
    "device": "cpu",
    "batch_size": 32,
    "weight_decay": 0.0,
    "patience": None,
}
"""Options of all fits of all lessons, unless a fit has others."""


@dataclass(frozen=True)
class Attempt:
    """One fit of a lesson.

    Attributes:
        name: Of its folder: "fault", "cure" or another.
        title: What it is, in a few words.
        options: Of `sl.fit`, beside the target and the seed.
        rows: The rows that it is fitted on.
    """

    name: str
    title: str
    rows: Rows
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Experiment:
    """What a lesson fits, and on what.

    Attributes:
        target: The column to predict.
        attempts: The fits: the fault first, then the cure.
        later: Rows that the models are tried on afterwards: their labels are right, and their columns hold what is known
            when a prediction is needed. None where the test rows say enough.
    """

    target: str
    attempts: Sequence[Attempt]
    later: Rows | None = None


def perceptron(*hidden: int, **options: Any) -> NetworkMaker:
    """Return a function that makes an `MLP` with these hidden layers, as the option `network` takes it.

    Example:
        >>> import sightline as sl
        >>> from sightline.pipeline.lesson_rows import perceptron
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> perceptron(8, 4, activation="sigmoid")(prepared.spec).config()["hidden"]
        [8, 4]
    """

    def make(spec: Spec) -> MLP:
        return MLP(spec, hidden=hidden, **options)

    return make


def _both(
    rows: Rows,
    shared: Mapping[str, Any],
    fault: tuple[str, Mapping[str, Any]],
    cure: tuple[str, Mapping[str, Any]],
) -> list[Attempt]:
    return [
        Attempt(name, title, rows, {**SHARED, **shared, **options})
        for name, (title, options) in (("fault", fault), ("cure", cure))
    ]


def _columns(values: np.ndarray) -> Rows:
    return {f"x{j + 1}": column.round(4) for j, column in enumerate(values.T)}


def _labels(yes: np.ndarray, names: tuple[str, str] = ("no", "yes")) -> np.ndarray:
    return np.where(yes, names[1], names[0])


def _drawn(random: np.random.Generator, logits: np.ndarray) -> np.ndarray:
    """Draw whether each row is positive, with the probability that its logit says."""
    drawn: np.ndarray = random.random(len(logits)) < 1 / (1 + np.exp(-logits))
    return drawn


def overfitting(seed: int) -> Experiment:
    """Few rows, 30 columns of which three count, and a network with far more weights than rows."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(650, 30))
    rows = {**_columns(values), "passed": _labels(_drawn(random, 1.5 * values[:, :3].sum(axis=1)))}
    shared = {
        "valid": 250,
        "test": 250,
        "network": perceptron(128, 128),
        "epochs": 30,
        "learning_rate": 0.003,
    }
    return Experiment("passed", [
        *_both(rows, shared, ("30 epochs", {}), ("early stopping", {"patience": 2})),
        Attempt("smaller", "8 units, dropout 0.5", rows, {**SHARED, **shared, "network": perceptron(8, dropout=0.5)}),
    ])  # fmt: skip


def learning_rate(seed: int) -> Experiment:
    """Three classes around three points, and three learning rates."""
    random = np.random.default_rng(seed)
    corners = np.linalg.qr(random.normal(size=(10, 10)))[0][:3] * 2.2
    kind = random.permutation(np.arange(1_200) % 3)
    rows = {
        **_columns(corners[kind] + random.normal(size=(1_200, 10))),
        "kind": np.array(["amber", "blue", "coral"])[kind],
    }
    shared = {"valid": 250, "test": 250, "network": perceptron(32), "epochs": 12}
    return Experiment("kind", [
        *_both(rows, shared, ("learning rate 3", {"learning_rate": 3.0}), ("learning rate 0.003", {"learning_rate": 0.003})),
        Attempt("too-small", "learning rate 0.000003", rows, {**SHARED, **shared, "learning_rate": 3e-6}),
    ])  # fmt: skip


def leakage(seed: int) -> Experiment:
    """Customers who leave, and a refund that is paid only after they have left."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(1_500, 3))
    left = _drawn(random, 1.4 * values[:, 0] - values[:, 1])
    rows = {
        "calls": (4 + 2 * values[:, 0]).round(1), "years": (6 + 2 * values[:, 1]).round(1), "age": (40 + 9 * values[:, 2]).round(),
        "refund": np.where(left, random.uniform(20, 80, len(left)), 0.0).round(2), "customer": _labels(left, ("stayed", "left")),
    }  # fmt: skip
    past = {name: column[:1_000] for name, column in rows.items()}
    future = {name: column[1_000:] for name, column in rows.items()}
    future["refund"] = np.zeros(500)  # nobody has left yet
    shared = {
        "valid": 200,
        "test": 200,
        "network": perceptron(32),
        "epochs": 12,
        "learning_rate": 0.01,
    }
    attempts = _both(
        past, shared, ("with the column refund", {}), ("without it", {"drop": ["refund"]})
    )
    return Experiment("customer", attempts, later=future)


def imbalance(seed: int) -> Experiment:
    """2 in 100 parts are faulty, and no measurement says surely which."""
    random = np.random.default_rng(seed)
    faulty = random.permutation(np.arange(4_000) % 50 == 0)
    values = random.normal(size=(4_000, 6))
    values[faulty, :3] += 1.0
    rows = {**_columns(values), "part": _labels(faulty, ("good", "faulty"))}
    shared = {
        "valid": 0.2, "test": 0.4, "positive": "faulty", "network": perceptron(16), "epochs": 12, "batch_size": 64,
        "learning_rate": 0.003,
    }  # fmt: skip
    return Experiment("part", _both(
        rows, shared, ("all rows count the same", {}), ("class_weights='balanced'", {"class_weights": "balanced"}),
    ))  # fmt: skip


def vanishing(seed: int) -> Experiment:
    """Points inside and outside a ring, and a network of eight layers."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(1_000, 2))
    inside = np.hypot(*values.T) < 1.18
    rows = {**_columns(values), "point": _labels(inside, ("outside", "inside"))}
    shared = {
        "valid": 200,
        "test": 200,
        "epochs": 15,
        "learning_rate": 0.001,
        "numeric": "standard",
    }
    return Experiment("point", _both(
        rows, shared,
        ("eight sigmoid layers", {"network": perceptron(*[24] * 8, activation="sigmoid")}),
        ("ReLU, residual connections", {"network": perceptron(*[24] * 8, residual=range(1, 8))}),
    ))  # fmt: skip


def unscaled(seed: int) -> Experiment:
    """Flats: how damp they are, a number of rooms, an area and a price, which all count."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(1_000, 4))
    rows = {
        "damp": (0.5 + 0.1 * values[:, 0]).round(4), "rooms": (4 + values[:, 1]).round(2), "area": (700 + 150 * values[:, 2]).round(1),
        "price": (250_000 + 60_000 * values[:, 3]).round(), "sold": _labels(values @ [2.0, 1.5, 2.0, -1.0] > 0),
    }  # fmt: skip
    shared = {
        "valid": 200,
        "test": 200,
        "network": perceptron(32),
        "epochs": 15,
        "learning_rate": 0.003,
    }
    return Experiment("sold", _both(
        rows, shared, ("numeric='none'", {"numeric": "none"}), ("numeric='standard'", {"numeric": "standard"})
    ))  # fmt: skip


def label_noise(seed: int) -> Experiment:
    """Two clear classes; 30 in 100 labels were swapped when they were written down."""
    random = np.random.default_rng(seed)
    values, truth = random.normal(size=(3_200, 12)), random.random(3_200) < 0.5
    values[:, :4] += np.where(truth, 1.2, -1.2)[:, None]
    written = truth ^ (random.random(3_200) < 0.3)
    names = ("cat", "dog")
    rows = {**_columns(values[:2_200]), "animal": _labels(written[:2_200], names)}
    clean = {**_columns(values[2_200:]), "animal": _labels(truth[2_200:], names)}
    shared = {"test": 1_000, "epochs": 60, "learning_rate": 0.003, "network": perceptron(128, 128)}
    return Experiment("animal", _both(
        rows, shared, ("60 epochs, nothing watched", {"valid": 0}),
        ("early stopping", {"valid": 200, "patience": 2, "label_smoothing": 0.1}),
    ), later=clean)  # fmt: skip


EXPERIMENTS: Mapping[FaultName, Callable[[int], Experiment]] = {
    "overfitting": overfitting, "learning-rate": learning_rate, "leakage": leakage, "imbalance": imbalance,
    "vanishing": vanishing, "unscaled": unscaled, "label-noise": label_noise,
}  # fmt: skip
