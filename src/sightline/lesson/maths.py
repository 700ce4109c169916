"""The equations of each stage, with this run's numbers.

Every equation is recomputed from the numbers as they are written, and left out if the result differs. So
readers can check it with a pocket calculator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sightline.contracts.schema import written
from sightline.errors import shorten
from sightline.lesson.equations import equation, settle, softmax
from sightline.lesson.updates import update
from sightline.lesson.wording import shown_classes

Body = Mapping[str, Any]
Bodies = Mapping[str, Body]
Equations = list[dict[str, str]]
SOFTMAX_TERMS = 6
"""Logits that a softmax writes out."""
ACCURACY_TERMS = 10
"""Classes up to which an accuracy is written as a sum of counts."""


def maths(stage: str, bodies: Bodies) -> Equations:
    """Return a stage's equations.

    Args:
        stage: "load", "prepare", "build", "train" or "predict".
        bodies: The bodies of the run's records by "stage/type", the last of each; and, as
            "train/first_step", the first `train/step`.

    Returns:
        Equations, each with `title`, `formula` (in symbols), `numbers` (the same in numbers) and `said`
        (a sentence that explains it).

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", network="MLP", epochs=1, quiet=True)
        >>> run.find("lesson", "stage")[0].body["maths"][0]["numbers"]  # what this gave
        '⌈276 / 32⌉ = 9'
    """
    write = {
        "load": _load,
        "prepare": _prepare,
        "build": _build,
        "train": _train,
        "predict": _predict,
    }
    return [equation for equation in write[stage](bodies) if equation is not None]


# ------------------------------------------------------------- load


def _load(bodies: Bodies) -> list[dict[str, str] | None]:
    rows, batch = bodies["load/split"]["train"], bodies["load/batch"]
    size, batches = batch["batch_size"], batch["batches"]
    up = batches == -(-rows // size)
    left, right = ("⌈", "⌉") if up else ("⌊", "⌋")
    exception = "" if up else " A single last row is added to the batch before it."
    return [{
        "title": "Batches of an epoch",
        "formula": f"batches = {left}rows / batch size{right}",
        "numbers": f"{left}{rows} / {size}{right} = {batches}",
        "said": f"The last batch has the remaining rows.{exception}",
    }]  # fmt: skip


# ------------------------------------------------------------- prepare


def _prepare(bodies: Bodies) -> list[dict[str, str] | None]:
    prepared = bodies["prepare/columns"]
    shown = prepared["shown"]
    where = f"row {shown['row']:,}"
    return [
        *_number(shown["number"], prepared["scaling"], where),
        _category(shown["category"], where),
        _target(shown["target"], where, bodies["run/start"]["target"]["name"]),
    ]


def _number(number: Body | None, scaling: str, where: str) -> list[dict[str, str] | None]:
    if number is None:
        return []
    name = shorten(number["feature"], 40)
    value = float(number["fill"] if number["missing"] else number["value"])
    title = f"{name} becomes a feature"
    sentence = f"{name} of {where}."
    if number["missing"]:
        sentence = f"{where.capitalize()} has no {name}, so {value:.5g} from the training rows replaces it."
    if scaling == "quantile":
        return [_by_rank(number, value, title, sentence)]
    if scaling == "none":
        same = settle(lambda x: x, [value], float(number["result"]))
        return [
            same
            and equation(title, "z = x", same[0][0], same[1], f"{sentence} Numbers are not scaled.")
        ]
    center, scale, result = (float(number[key]) for key in ("center", "scale", "result"))
    low, wide = {
        "minmax": ("min", "(max − min)"), "standard": ("mean", "standard deviation"),
        "robust": ("median", "interquartile range"),
    }[scaling]  # fmt: skip
    linear = max(-1e6, min(1e6, (value - center) / scale))
    done = settle(lambda x, c, s: (x - c) / s, [value, center, scale], linear)
    first = done and equation(
        title, f"z = (x − {low}) / {wide}", "({} − {}) / {}".format(*done[0]), done[1],
        f"{sentence} The statistics are those of the training rows.",
    )  # fmt: skip
    if scaling != "robust":
        return [first]
    clipped = settle(lambda z: z / math.sqrt(1 + (z / 3) ** 2), [linear], result)
    second = clipped and equation(
        f"{name} is clipped softly", "z′ = z / √(1 + (z / 3)²)", "{0} / √(1 + ({0} / 3)²)".format(*clipped[0]),
        clipped[1], "However extreme the value, its feature stays between −3 and 3.",
    )  # fmt: skip
    return [first, second]


def _by_rank(number: Body, value: float, title: str, sentence: str) -> dict[str, str] | None:
    (low, high), (under, over) = number["knots"], number["scores"]
    result = float(number["result"])
    if number["outside"] or low == high:
        done = settle(lambda s: s, [under], result)
        why = (
            "outside the training range"
            if number["outside"]
            else "at the end of the training range"
        )
        return done and equation(
            title, "z = score of the nearest end", done[0][0], done[1],
            f"{sentence} {value:.5g} lies {why}.",
        )  # fmt: skip

    def line(x: float, a: float, b: float, s: float, t: float) -> float:
        return s + (x - a) / (b - a) * (t - s)

    done = settle(line, [value, low, high, under, over], result)
    return done and equation(
        title, "z = s₀ + (x − x₀) / (x₁ − x₀) × (s₁ − s₀)",
        "{3} + ({0} − {1}) / ({2} − {1}) × ({4} − {3})".format(*done[0]), done[1],
        f"{sentence} x₀ and x₁ are the training quantiles around it, s₀ and s₁ the normal scores of their ranks.",
    )  # fmt: skip


def _category(category: Body | None, where: str) -> dict[str, str] | None:
    if category is None:
        return None
    name, code = shorten(category["column"], 40), category["code"]
    title = f"{name} becomes a code"
    if category["state"] == "known":
        text = shorten(repr(category["value"]), 40)
        return {
            "title": title, "formula": "code = 2 + rank by frequency",
            "numbers": f"2 + {code - 2} = {code}",
            "said": f"{name} of {where} is {text}, with rank {code - 2} in the training rows; the most frequent "
            f"category has rank 0. Codes 0 and 1 mean missing and unseen.",
        }  # fmt: skip
    what = {"missing": "has no value", "unseen": "has a value that no training row has"}
    return {
        "title": title, "formula": "code = 0 for missing, 1 for unseen, 2 and more for known values",
        "numbers": f"{category['state']} → {code}",
        "said": f"{name} of {where} {what[category['state']]}.",
    }  # fmt: skip


def _target(target: Body | None, where: str, name: str) -> dict[str, str] | None:
    if target is None:
        return None
    values = [float(target[key]) for key in ("value", "center", "scale")]
    done = settle(lambda y, m, s: (y - m) / s, values, float(target["result"]))
    return done and equation(
        f"{shorten(name, 40)} is scaled", "y′ = (y − mean) / standard deviation",
        "({} − {}) / {}".format(*done[0]), done[1],
        f"The target of {where}, with the training rows' mean and standard deviation.",
    )  # fmt: skip


# ------------------------------------------------------------- build


def _build(bodies: Bodies) -> list[dict[str, str] | None]:
    equations: list[dict[str, str] | None] = []
    for unit in bodies["build/network"]["units"]:
        equations += [_unit(unit), _activation(unit)]
    return equations


def _unit(unit: Body) -> dict[str, str] | None:
    terms, others, bias = unit["terms"], float(unit["rest"]), float(unit["bias"])
    values = [float(x) for _, weight, value in terms for x in (weight, value)] + [others, bias]

    def total(*given: float) -> float:
        *pairs, remainder, b = given
        return sum(w * x for w, x in zip(pairs[::2], pairs[1::2], strict=True)) + remainder + b

    # If products cancel, the rounding error of float32 is relative to the largest one.
    products = (float(weight) * float(value) for _, weight, value in terms)
    size = max(abs(x) for x in (*products, others, bias))
    done = settle(total, values, float(unit["sum"]), 1e-4 * abs(float(unit["sum"])) + 2e-6 * size)
    if done is None:
        return None
    *pairs, remainder, b = done[0]
    written = [f"{w} × {x}" for w, x in zip(pairs[::2], pairs[1::2], strict=True)]
    names = ", ".join(shorten(name, 30) for name, _, _ in terms)
    sum_of_others = (
        f" The other {unit['others']} products add up to {remainder.strip('()')}."
        if unit["others"]
        else ""
    )
    return equation(
        f"{unit['name']}: w·x + b", "z = w₁·x₁ + w₂·x₂ + … + b",
        " + ".join([*written, *([remainder] if unit["others"] else []), b]), done[1],
        f"Row {unit['row']:,}, before training. Its largest products are those of {names}.{sum_of_others}",
    )  # fmt: skip


ACTIVATIONS: dict[str, tuple[Callable[[float], float], str]] = {
    "ReLU": (lambda z: max(0.0, z), "max(0, {})"),
    "Tanh": (math.tanh, "tanh({})"),
    "Sigmoid": (lambda z: 1 / (1 + math.exp(-z)), "1 / (1 + e^(−{}))"),
    "SiLU": (lambda z: z / (1 + math.exp(-z)), "{0} / (1 + e^(−{0}))"),
}


def _activation(unit: Body) -> dict[str, str] | None:
    if unit["activation"] not in ACTIVATIONS:
        return None
    compute, form = ACTIVATIONS[unit["activation"]]
    done = settle(compute, [float(unit["sum"])], float(unit["output"]))
    return done and equation(
        f"{unit['name']}: {unit['activation']}", f"h = {form.format('z')}", form.format(*done[0]), done[1],
        "Without a non-linear activation between them, any number of linear layers equals a single one.",
    )  # fmt: skip


# ------------------------------------------------------------- train


def _train(bodies: Bodies) -> list[dict[str, str] | None]:
    seen = bodies.get("train/step")
    if seen is None:  # stopped before the first step
        return []
    target = bodies["run/start"]["target"]
    scaling = bodies["prepare/columns"]["shown"]["target"]
    first = (
        _squared_error(seen, scaling) if scaling else _cross_entropy(seen, shown_classes(target))
    )
    if first is not None:
        first["said"] += _not_counted(bodies["run/start"])
    begun = bodies["train/first_step"]
    earlier = [] if begun["step"] == seen["step"] else [update(begun)]
    return [first, *earlier, update(seen)]


def _not_counted(start: Body) -> str:
    """Return a sentence about what else the training loss includes."""
    settings = start["settings"]
    terms = ["label smoothing"] if settings["label_smoothing"] else []
    weighted = settings["class_weights"] is not None or start["split"]["weight"] is not None
    terms += ["the row's weight"] if weighted else []
    return f" The training loss also includes {' and '.join(terms)}." if terms else ""


def _cross_entropy(seen: Body, classes: Sequence[Any]) -> dict[str, str] | None:
    row = seen["first_row"]
    own, total, loss = (float(row[key]) for key in ("logit", "log_sum", "loss"))
    named = shorten(written(classes[int(row["target"])]), 40)
    which = " (first member)" if len(seen["logits_shape"]) == 3 else ""
    sentence = (
        f"Row {row['row']:,}, the first of the batch of step {seen['step']:,}{which}, is {named}: the "
        f"network gave that class a probability of {float(row['probability']):.5g}."
    )
    done = softmax(
        [float(z) for _, z in row["largest"]], own, total, row["classes"], loss, log=True
    )
    if done is None:
        return None
    numbers, result = done
    title = "Cross entropy of one row"
    return equation(
        title, "loss = −ln p(true class) = −ln(e^z / Σ e^zⱼ)", numbers, result, sentence
    )


def _squared_error(seen: Body, scaling: Body) -> dict[str, str] | None:
    row = seen["first_row"]
    values = [
        float(row["output"]),
        float(row["target"]),
        float(scaling["center"]),
        float(scaling["scale"]),
    ]
    if not all(map(math.isfinite, values)):
        return None
    loss = (values[0] - (values[1] - values[2]) / values[3]) ** 2
    done = settle(lambda z, y, m, s: (z - (y - m) / s) ** 2, values, loss)
    return done and equation(
        "Squared error of one row", "loss = (output − (y − mean) / standard deviation)²",
        "({} − ({} − {}) / {})²".format(*done[0]), done[1],
        f"Row {row['row']:,}, the first of the batch of step {seen['step']:,}.",
    )  # fmt: skip


# ------------------------------------------------------------- predict


def _predict(bodies: Bodies) -> list[dict[str, str] | None]:
    example, metrics = bodies["predict/example"], bodies["predict/metrics"]
    explained = example["explanation"]
    if not explained["probabilities"]:
        return _back(bodies)
    probabilities = [float(p) for p in explained["probabilities"]]
    truth = explained["classes"].index(example["truth"])
    best = probabilities.index(max(probabilities))
    members = len(bodies.get("train/step", bodies["build/network"])["logits_shape"]) == 3
    first = None
    if not members:  # an ensemble's probabilities are the mean of its members', whose logits differ
        logits = [float(z) for z in explained["logits"]]
        first = _probability(logits, best, probabilities[best], written(explained["classes"][best]))
    return [first, _log_loss(probabilities[truth], example), _accuracy(metrics)]


def _probability(logits: list[float], best: int, p: float, name: str) -> dict[str, str] | None:
    if not all(map(math.isfinite, logits)):
        return None
    high = max(logits)
    total = high + math.log(sum(math.exp(z - high) for z in logits))
    top = sorted(logits, reverse=True)[:SOFTMAX_TERMS]
    done = softmax(top, logits[best], total, len(logits), p, log=False)
    if done is None:
        return None
    return equation(
        "Softmax", "p = e^z / Σ e^zⱼ", *done,
        f"The probability of {shorten(name, 40)}. The probabilities of all classes add up to 1.",
    )  # fmt: skip


def _log_loss(p: float, example: Body) -> dict[str, str] | None:
    if not p > 0:
        return None
    done = settle(lambda x: -math.log(x), [p], -math.log(p))
    return done and equation(
        "Log loss of the example", "−ln p(true class)", f"−ln({done[0][0]})", done[1],
        f"Row {example['row']:,} is {shorten(written(example['truth']), 40)}: the closer its probability is to 1, the "
        "closer its loss is to 0.",
    )  # fmt: skip


def _accuracy(metrics: Body) -> dict[str, str] | None:
    right = [row[index] for index, row in enumerate(metrics["confusion"])]
    rows = metrics["rows"]
    done = settle(lambda: sum(right) / rows, [], float(metrics["accuracy"]))
    counts = f"({' + '.join(map(str, right))})" if len(right) <= ACCURACY_TERMS else f"{sum(right)}"
    return done and equation(
        "Accuracy", "correct predictions / rows", f"{counts} / {rows}", done[1],
        f"The correct predictions of each class, on the {rows:,} {metrics['part']} rows.",
    )  # fmt: skip


def _back(bodies: Bodies) -> list[dict[str, str] | None]:
    example, scaling = bodies["predict/example"], bodies["prepare/columns"]["shown"]["target"]
    explained = example["explanation"]
    predicted, truth = float(explained["prediction"]), float(example["truth"])
    unit = shorten(bodies["run/start"]["target"]["name"], 40)
    values = [float(explained["logits"][0]), float(scaling["scale"]), float(scaling["center"])]
    done = settle(lambda z, s, m: z * s + m, values, predicted)
    back = done and equation(
        "Back to the target's unit", "y = output × standard deviation + mean", "{} × {} + {}".format(*done[0]),
        done[1], f"The network's output is standardised; this turns it back into {unit}.",
    )  # fmt: skip
    done = settle(lambda a, b: a - b, [predicted, truth], predicted - truth)
    error = done and equation(
        "Error of the example", "error = predicted − true", "{} − {}".format(*done[0]), done[1],
        f"Row {example['row']:,}, in the unit of {unit}.",
    )  # fmt: skip
    return [back, error]
