"""Short facts about each stage of a run, and the shapes of its tensors.

Every function takes the bodies of a run's records when the stage is done: a mapping of "stage/type" to
the last body of that type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightline.errors import counted, shorten, spelled

Body = Mapping[str, Any]
Bodies = Mapping[str, Body]
Pairs = list[list[str]]
FLOAT_BYTES = INT_BYTES = 4
SHAPE_LAYERS = 40
"""Layers whose shapes are listed, at most."""


def facts(stage: str, bodies: Bodies, seconds: float) -> Pairs:
    """Return a stage's facts as pairs of a label and a value.

    Args:
        stage: "load", "prepare", "build", "train" or "predict".
        bodies: The bodies so far.
        seconds: Duration of the stage.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", network="MLP", epochs=1, quiet=True)
        >>> dict(run.find("lesson", "stage")[1].body["facts"])["numeric features"]  # what this gave
        '[276, 9] float32'
    """
    make = {
        "load": _load,
        "prepare": _prepare,
        "build": _build,
        "train": _train,
        "predict": _predict,
    }
    return [*make[stage](bodies), ["time", duration(seconds)]]


def shapes(stage: str, bodies: Bodies) -> Pairs:
    """Return the tensors of a stage as pairs of a name and a shape.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", network="MLP", epochs=1, quiet=True)
        >>> run.find("lesson", "stage")[2].body["shapes"][-1]  # what this gave
        ['logits', '[32, 3] float32']
    """
    make = {
        "load": _table_shapes, "prepare": _feature_shapes, "build": _layer_shapes,
        "train": _step_shapes, "predict": _answer_shapes,
    }  # fmt: skip
    return make[stage](bodies)


def duration(seconds: float) -> str:
    """Write a duration.

    Example:
        >>> from sightline.lesson.facts import duration
        >>> duration(0.0314), duration(83.4), duration(0.0001)
        ('0.03 s', '83 s', 'under 0.01 s')
    """
    if seconds < 0.01:
        return "under 0.01 s"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:,.0f} s"


def size(count: int) -> str:
    """Write a number of bytes.

    Example:
        >>> from sightline.lesson.facts import size
        >>> size(12), size(13_200), size(5_000_000_000)
        ('12 bytes', '13.2 kB', '5 GB')
    """
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return counted(count, "byte")


def held_out(split: Body | None) -> str:
    """Return the name of a run's validation metrics: "validation" or "out-of-fold".

    With folds there are no validation rows: each training row is predicted out of fold, by members of
    the network that did not learn from it.

    Args:
        split: The body of `load/split`; None if it is not known.

    Example:
        >>> from sightline.lesson.facts import held_out
        >>> held_out({"valid": 0, "folds": 5}), held_out({"valid": 34})
        ('out-of-fold', 'validation')
    """
    return "out-of-fold" if split is not None and split.get("folds") else "validation"


# ------------------------------------------------------------- facts


def _load(bodies: Bodies) -> Pairs:
    table, split, batch = bodies["load/table"], bodies["load/split"], bodies["load/batch"]
    kinds: dict[str, int] = {}
    for column in table["columns"]:
        if column["role"] == "feature":
            kinds[column["kind"]] = kinds.get(column["kind"], 0) + 1
    return [
        ["rows x columns", f"{table['rows']:,} x {len(table['columns'])}"],
        ["features", f"{batch['features']} ({', '.join(f'{n} {k}' for k, n in kinds.items())})"],
        ["training rows", f"{split['train']:,}"],
        [
            "folds",
            f"{split['folds']}{' that follow each other in time' if split.get('blocks') else ''}, held out in turn",
        ]
        if split.get("folds")
        else ["validation rows", f"{split['valid']:,}"],
        ["test rows", f"{split['test']:,}"],
        ["batches", f"{batch['batches']:,} of up to {batch['batch_size']:,} rows"],
        ["in memory", size(table["bytes"])],
    ]


def _prepare(bodies: Bodies) -> Pairs:
    prepared = bodies["prepare/columns"]
    numeric, codes = prepared["numeric_shape"], prepared["categorical_shape"]
    count = numeric[0] * numeric[1] * FLOAT_BYTES + codes[0] * codes[1] * INT_BYTES
    return [
        ["columns", f"{prepared['columns_in']}"],
        ["scaling of numbers", prepared["scaling"] if prepared["numbers"] else "none: no numbers"],
        ["numeric features", f"{numeric} float32"],
        ["categorical features", f"{codes} int32"],
        ["missing-value flags", f"{prepared['flags']}"],
        ["training tensors", size(count)],
    ]


def _build(bodies: Bodies) -> Pairs:
    network = bodies["build/network"]
    return [
        ["network", shorten(network["class"])],
        ["layers", f"{len(network['layers']) - 1}"],
        ["parameters", f"{network['parameters']:,}"],
        ["weights in memory", size(network["weight_bytes"])],
        ["inputs", f"{network['inputs']}"],
        ["outputs", f"{network['outputs']}"],
    ]


def _train(bodies: Bodies) -> Pairs:
    plan, end, epoch = bodies["train/plan"], bodies["train/end"], bodies["train/epoch"]
    return [
        ["epochs", f"{epoch['number']} (best: {end['best_epoch']})"],
        ["steps", f"{end['steps']:,} ({plan['steps_per_epoch']:,} an epoch)"],
        ["batch", f"{plan['batch_size']:,} rows"],
        ["device", f"{plan['device']}, {plan['precision']}"],
        ["edits", f"{end['edits']}"],
        ["skipped steps", f"{end['skipped']}"],
    ]


def _predict(bodies: Bodies) -> Pairs:
    metrics, example = bodies["predict/metrics"], bodies["predict/example"]
    names = ("accuracy", "log_loss", "roc_auc", "average_precision", "rmse", "mae", "r2")
    measured = [
        [name.replace("_", " "), f"{float(metrics[name]):.5g}"]
        for name in names if metrics.get(name) is not None
    ]  # fmt: skip
    return [
        ["rows measured", counted(metrics["rows"], metrics["part"] + " row")],
        *measured,
        *_trust(bodies),
        ["example", f"row {example['row']:,}, {example['part']}"],
    ]


def _trust(bodies: Bodies) -> Pairs:
    """Return facts about the parts of the model, its calibration, prediction sets and threshold."""
    pairs: Pairs = []
    if calibration := bodies.get("predict/calibration"):
        shares = [
            f"{spelled(part['name'])} {100 * float(part['share']):.0f} %"
            for part in calibration["parts"]
        ]
        if len(shares) > 1:
            pairs.append(["weights of the parts", ", ".join(shares)])
        if calibration.get("temperature") is not None:
            before, after = (float(calibration[when]["ece"]) for when in ("before", "after"))
            pairs.append(["calibration error", f"{after:.3g} (before: {before:.3g})"])
    if sets := bodies.get("predict/sets"):
        what = "sets" if "mean_size" in sets else "intervals"
        wanted, covered = 100 * (1 - float(sets["alpha"])), 100 * float(sets["coverage"])
        pairs.append([f"{what} at {wanted:g} %", f"contain the truth in {covered:.1f} % of rows"])
    if threshold := bodies.get("predict/threshold"):
        pairs.append(["threshold", f"{float(threshold['value']):.3g}"])
    return pairs


# ------------------------------------------------------------- shapes


def _table_shapes(bodies: Bodies) -> Pairs:
    table, split, batch = bodies["load/table"], bodies["load/split"], bodies["load/batch"]
    features = batch["features"]
    parts = [
        [f"{name} rows", f"[{split[part]}, {features}]"]
        for name, part in (("training", "train"), ("validation", "valid"), ("test", "test"))
        if part != "valid" or not split.get("folds")
    ]
    return [
        ["table", f"[{table['rows']}, {len(table['columns'])}]"],
        *parts,
        ["batch", f"[{batch['batch_size']}, {features}]"],
    ]


def _feature_shapes(bodies: Bodies) -> Pairs:
    prepared, batch = bodies["prepare/columns"], bodies["load/batch"]
    target = bodies["run/start"]["target"]
    rows, numbers = prepared["numeric_shape"]
    codes, size = prepared["categorical_shape"][1], batch["batch_size"]
    kind = "int64" if target["task"] == "classification" else "float64"
    return [
        ["training rows", f"[{rows}, {prepared['columns_in']}]"],
        ["numeric features", f"[{rows}, {numbers}] float32"],
        ["categorical features", f"[{rows}, {codes}] int32"],
        ["target", f"[{rows}] {kind}"],
        ["batch, numeric", f"[{size}, {numbers}] float32"],
        ["batch, categorical", f"[{size}, {codes}] int32"],
    ]


def _layer_shapes(bodies: Bodies) -> Pairs:
    network = bodies["build/network"]
    layers = network["layers"]
    pairs = [[shorten(layer["name"]), f"{layer['shape']}"] for layer in layers[:SHAPE_LAYERS]]
    if len(layers) > SHAPE_LAYERS:
        pairs.append([f"{len(layers) - SHAPE_LAYERS} more layers", "..."])
    return [*pairs, ["logits", f"{network['logits_shape']} {network['logits_dtype']}"]]


def _step_shapes(bodies: Bodies) -> Pairs:
    seen = bodies.get("train/step")
    if seen is None:  # stopped before the first step
        return []
    outcome = (
        "probabilities" if bodies["run/start"]["target"]["task"] == "classification" else "values"
    )
    return [
        ["batch, numeric", f"{seen['numeric_shape']} float32"],
        ["batch, categorical", f"{seen['categorical_shape']} int32"],
        ["logits", f"{seen['logits_shape']} {seen['logits_dtype']}"],
        ["loss", "[] float32"],
        [f"gradient of {shorten(seen['parameter'])}", f"{seen['parameter_shape']} float32"],
        [outcome, f"{[seen['logits_shape'][0], seen['logits_shape'][-1]]}"],
    ]


def _answer_shapes(bodies: Bodies) -> Pairs:
    example, network = bodies["predict/example"]["explanation"], bodies["build/network"]
    spec = network["spec"]
    layers = [
        [shorten(layer["name"]), f"{layer['shape']}"] for layer in example["layers"][:SHAPE_LAYERS]
    ]
    outputs = len(example["logits"])
    head = "probabilities" if example["probabilities"] else "number"
    kind = "float32" if example["probabilities"] else "float64"
    return [
        ["row", f"[1, {len(example['raw'])}]"],
        ["numeric features", f"[1, {len(spec['numeric'])}] float32"],
        ["categorical features", f"[1, {len(spec['categorical'])}] int32"],
        *layers,
        ["logits", f"{[1, *network['logits_shape'][1:]]} {network['logits_dtype']}"],
        [head, f"[1, {outputs}] {kind}"],
    ]
