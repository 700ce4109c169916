"""The terms of deep learning, each explained in the stage that introduces it, with the run's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightline.contracts.schema import written
from sightline.errors import readable, shorten

Body = Mapping[str, Any]
Bodies = Mapping[str, Body]
Terms = list[dict[str, str]]


def terms(stage: str, bodies: Bodies) -> Terms:
    """Explain the terms that a stage introduces.

    Args:
        stage: "load", "prepare", "build", "train" or "predict".
        bodies: The bodies of the run's records by "stage/type", the last of each.

    Returns:
        Each `term`, and its `text` of one to three sentences.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", epochs=1, quiet=True)
        >>> [one["term"] for one in run.find("lesson", "stage")[0].body["terms"]]  # what this gave
        ['batch', 'epoch']
    """
    explain = {
        "load": _load,
        "prepare": _prepare,
        "build": _build,
        "train": _train,
        "predict": _predict,
    }
    return [{"term": term, "text": text} for term, text in explain[stage](bodies)]


def _load(bodies: Bodies) -> list[tuple[str, str]]:
    batch, rows = bodies["load/batch"], bodies["load/split"]["train"]
    size, count = batch["batch_size"], batch["batches"]
    return [
        ("batch", f"Rows that go through the network together, here up to {size:,}. Their gradient is an estimate of "
         "the gradient of all training rows: less exact, but much cheaper."),
        ("epoch", f"One pass over all {_count(rows, 'training row')}, here {_count(count, 'batch')}. Each epoch "
         "uses a new random order."),
    ]  # fmt: skip


def _prepare(bodies: Bodies) -> list[tuple[str, str]]:
    prepared = bodies["prepare/columns"]
    number = prepared["shown"]["number"]
    text = "Scaling all numbers to a similar range, so that no column counts more only because of its unit. "
    if number is None:
        text += "Here there is nothing to scale: no column holds numbers."
    else:
        name, result = shorten(number["feature"], 40), float(number["result"])
        where = f"row {prepared['shown']['row']:,}"
        was = "no value" if number["missing"] else f"{float(number['value']):.5g}"
        how = {
            "minmax": "to 0..1", "standard": "to mean 0 and standard deviation 1",
            "robust": "by median and interquartile range", "quantile": "by rank", "none": "",
        }[prepared["scaling"]]  # fmt: skip
        scaled = f"scaled {how}" if how else "left as they are"
        text += f"Here numbers are {scaled}: {name} of {where} had {was} and became {result:.5g}."
    return [("normalisation", text)]


def _build(bodies: Bodies) -> list[tuple[str, str]]:
    network = bodies["build/network"]
    layers, inputs = len(network["layers"]) - 1, network["inputs"]
    outputs = _count(network["outputs"], "logit" if network["outputs"] > 1 else "output")
    return [
        ("forward pass", f"Computing the network's output from its input, layer by layer: here {_count(inputs, 'input')} "
         f"of a row pass through {_count(layers, 'part')} with {_count(network['parameters'], 'parameter')} and become "
         f"{outputs}."),
        ("dynamic graph", "PyTorch records each operation during the forward pass, so it builds a new graph for "
         f"each batch, here of {_count(network['batch'], 'row')}. That is why the network can be changed "
         "between two steps."),
    ]  # fmt: skip


def _train(bodies: Bodies) -> list[tuple[str, str]]:
    end, seen = bodies["train/end"], bodies.get("train/step")
    settings = bodies["run/start"]["settings"]
    autograd = (
        "Automatic differentiation: PyTorch goes backwards through the graph of a forward pass and computes "
        f"a gradient for each of the {_count(end['parameters'], 'parameter')}: how the loss changes when that "
        "parameter does."
    )
    kind = str(settings["optimizer"])
    name = {"adamw": "AdamW", "sgd": "SGD", "muon": "Muon"}.get(kind, "an optimizer of your own")
    rule = "The rule that turns gradients into new weights"
    optimizer = f"{rule}, here {name} with a learning rate of {float(settings['learning_rate']):g}."
    if seen is not None:
        weight = shorten(seen["weight"], 60)
        autograd += (
            f" In step {seen['step']:,} the gradient of {weight} was {float(seen['gradient']):.5g}."
        )
        before, after = float(seen["weight_before"]), float(seen["weight_after"])
        what = f"moved {weight} from {before:.5g} to {after:.5g}"
        optimizer += f" It {what if before != after else f'left {weight} at {before:.5g}'}."
    return [("autograd", autograd), ("optimizer", optimizer)]


def _predict(bodies: Bodies) -> list[tuple[str, str]]:
    explained, target = bodies["predict/example"]["explanation"], bodies["run/start"]["target"]
    if target["task"] == "classification":
        best = max(float(p) for p in explained["probabilities"])
        name = shorten(written(explained["prediction"]), 40)
        return [("softmax", "Turns logits into probabilities: e to the power of each, divided by the sum of all of these, so "
                 f"that the {len(explained['probabilities'])} of them add up to 1. Here {name} got {best:.5g}.")]  # fmt: skip
    scaling = bodies["prepare/columns"]["shown"]["target"]
    name, value = shorten(target["name"], 40), float(explained["prediction"])
    return [("unit of the target", f"The network learned {name} standardised: minus the mean {readable(float(scaling['center']), 5)}, "
             f"divided by the standard deviation {readable(float(scaling['scale']), 5)}. Prediction reverses that: {readable(value, 5)} is in "
             f"the unit of {name}, as in the table.")]  # fmt: skip


def _count(number: int, what: str) -> str:
    plural = "es" if what.endswith("ch") else "s"
    return f"{number:,} {what}{plural if number != 1 else ''}"
