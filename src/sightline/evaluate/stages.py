"""What a run records of stages 2 and 3: the preparation and the untrained network in detail.

This is above `prepare/` and `build/` because one example row is followed through both, and the
target's scaling (`predict/task.py`) and the weights' fingerprint (`train/checkpoints.py`) are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from sightline.build.modes import drawing
from sightline.build.networks import BUILT_IN
from sightline.build.units import show_units
from sightline.contracts import Spec
from sightline.evaluate.rows import measured_rows
from sightline.load.split import Splits
from sightline.load.table import subset
from sightline.predict.path import follow, followed_layers
from sightline.predict.task import Task
from sightline.prepare.leakage import leaks
from sightline.prepare.prepared import Prepared
from sightline.prepare.shown import show_row
from sightline.train.checkpoints import weights_fingerprint


def prepare_columns(prepared: Prepared, seed: int) -> dict[str, Any]:
    """Describe a preparation: the body of `prepare/columns`, without `seconds`.

    Args:
        prepared: From `sightline.prepare`.
        seed: Seed of the sample of rows that is checked for target leakage (`prepare/leakage.py`).

    Returns:
        `scaling`, `ways` (each column's), `notes`, `columns_in`, `numbers`, `flags`, `codes`,
        `numeric_shape`, `categorical_shape` of the training rows, and `shown`: the example row's
        values on their way into the network.

    Example:
        >>> import sightline as sl
        >>> from sightline.evaluate.stages import prepare_columns
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> body = prepare_columns(prepared, seed=0)
        >>> body["columns_in"], body["numeric_shape"], body["categorical_shape"]
        (7, [276, 9], [276, 2])
    """
    encoder, transform, train = prepared.encoder, prepared.transform, prepared.train
    rows = prepared.splits.train_rows
    return {
        "scaling": transform.scaling, "ways": prepared.describe(),
        "notes": [*prepared.notes, *leaks(prepared, seed)],
        "columns_in": len(prepared.splits.table.schema.features), "numbers": len(encoder.numbers),
        "flags": len(transform.flags), "codes": len(encoder.codes),
        "numeric_shape": [rows, train.numeric.size(1)], "categorical_shape": [rows, train.categorical.size(1)],
        "shown": _example_features(prepared),
    }  # fmt: skip


def build_network(
    network: nn.Module,
    prepared: Prepared,
    batch_size: int,
    description: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Describe an untrained network: the body of `build/network`, without `seconds`.

    Args:
        network: The network with its first weights.
        prepared: The rows that it will be trained on.
        batch_size: Training rows that are put through it for the layers' shapes.
        description: How it is rebuilt: from `describe_network`, `Training.first_network`.
        seed: Seed of the run, from which the first weights of a built-in network are drawn.

    Returns:
        `class`, `batch` (the batch size), `inputs`, `outputs`, `features` (columns of the table),
        `parameters`, `layers` (each `name`, `shape`, `parameters`), `spec`, `printed`, `again` (the
        description, and `drawn`: whether the seed determines these weights), `logits_shape`,
        `logits_dtype`, `weight_bytes` and `units` (two units computed by hand for the example row).

    Example:
        >>> import sightline as sl
        >>> from sightline.build.networks import describe_network
        >>> from sightline.evaluate.stages import build_network
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> network = sl.MLP(prepared.spec, hidden=[16])
        >>> body = build_network(network, prepared, 32, describe_network(network)[0], seed=0)
        >>> body["logits_shape"], [layer["shape"] for layer in body["layers"]][1:]
        ([32, 3], [[32, 7], [32, 16], [32, 3]])
    """
    spec, train, device = prepared.spec, prepared.train, next(network.parameters()).device
    layers, logits = follow(
        network, train.numeric[:batch_size].to(device), train.categorical[:batch_size].to(device)
    )
    counts = {name: _parameters(module) for name, module in followed_layers(network)}
    drawn = _drawn_from_seed(network, spec, description, seed)
    return {
        "class": type(network).__name__, "batch": batch_size,
        "inputs": len(spec.numeric) + len(spec.categorical), "outputs": spec.outputs,
        "features": len(prepared.splits.table.schema.features), "parameters": _parameters(network),
        "layers": [
            {"name": layer.name, "shape": list(layer.shape), "parameters": counts.get(layer.name, 0)}
            for layer in layers
        ],
        "spec": _without_edges(spec), "printed": str(network),
        "again": {**description, "drawn": drawn}, "logits_shape": list(logits.shape),
        "logits_dtype": str(logits.dtype).removeprefix("torch."),
        "weight_bytes": sum(p.nbytes for p in network.parameters()),
        "units": _example_units(network, prepared),
    }  # fmt: skip


# ------------------------------------------------------------- helpers


def _example_features(prepared: Prepared) -> dict[str, Any]:
    """Follow the row that is the example of stage 5 into its features and its scaled target."""
    splits: Splits = prepared.splits
    row = measured_rows(splits)[1][:1]
    target = None
    if prepared.spec.target.task == "regression":
        task = Task.of(prepared)
        value = float(splits.labels(row)[0])
        target = {
            "value": value, "center": task.center, "scale": task.scale,
            "result": float(task.scaled(torch.tensor(value, dtype=torch.float64))),
        }  # fmt: skip
    return {
        "row": int(splits.row_numbers(row)[0]),
        **show_row(prepared, subset(splits.table, row)),
        "target": target,
    }


def _example_units(network: nn.Module, prepared: Prepared) -> list[dict[str, Any]]:
    """Compute two units of the untrained network for the example row."""
    part, rows = measured_rows(prepared.splits)
    batches = {"test": prepared.test, "validation": prepared.valid, "training": prepared.train}
    batch, device = batches[part], next(network.parameters()).device
    names = [feature.name for feature in prepared.spec.numeric]
    units = show_units(
        network, batch.numeric[:1].to(device), batch.categorical[:1].to(device), names
    )
    row = int(prepared.splits.row_numbers(rows[:1])[0])
    return [{"row": row, **unit} for unit in units]


def _drawn_from_seed(
    network: nn.Module, spec: Spec, description: Mapping[str, Any], seed: int
) -> bool:
    """Return whether a built-in network's first weights are those that the seed draws."""
    if not description["built_in"]:
        return False
    with drawing(seed):
        rebuilt = BUILT_IN[description["class"]].from_config(spec, description["config"])
    return weights_fingerprint(rebuilt) == weights_fingerprint(network)


def _without_edges(spec: Spec) -> dict[str, Any]:
    """Return a spec as JSON without the edges of the bins, which may be thousands of numbers."""
    body = spec.to_json()
    return {**body, "numeric": [{**feature, "edges": []} for feature in body["numeric"]]}


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
