"""The model file: what goes into it, and how it is read again without running any code."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from sightline import archive
from sightline.build.networks import BUILT_IN, NetworkMaker, describe_network, make_network
from sightline.build.trees import Trees
from sightline.contracts import Spec, traits_of
from sightline.errors import BundleError
from sightline.predict.calibration import Blend
from sightline.predict.conformal import Conformal
from sightline.predict.task import Task
from sightline.predict.threshold import Threshold
from sightline.prepare.encode import Encoder
from sightline.prepare.transform import Transform

if TYPE_CHECKING:
    from sightline.predict.model import Model


def save(model: Model, path: str | Path) -> None:
    """Write a model; see `Model.save`."""
    network, source = describe_network(model.network)
    files: dict[str, bytes] = {}
    if source is not None:
        network["source"] = f"sources/{network['source']}.py"
        files[network["source"]] = source
    prepare = {"encoder": model.encoder.to_json(), "transform": model.transform.config()}
    manifest: dict[str, Any] = {
        "task": model.task.to_json(),
        "baseline": model.baseline.tolist(),
        "network": network,
        "versions": versions(),
        "provenance": model.provenance,
    }
    extra = {} if model.typical is None else {"typical": model.typical}
    if model.trees is not None:
        manifest["trees"] = model.trees.config()
        extra["trees"] = model.trees.state_dict()
    if model.blend is not None:
        manifest["blend"] = model.blend.to_json()
    if model.conformal is not None:
        manifest["conformal"] = model.conformal.to_json()
        arrays = model.conformal.arrays()
        extra["conformal"] = {name: torch.from_numpy(found) for name, found in arrays.items()}
    if model.threshold is not None:
        manifest["threshold"] = model.threshold.to_json()
    archive.write(
        path, "model", manifest,
        json_members={"spec": model.spec.to_json(), "prepare": prepare},
        tensors={
            "weights": model.network.state_dict(),
            "transform": model.transform.state_dict(),
            "rows": model.rows,
            **extra,
        },
        files=files,
    )  # fmt: skip


def load(path: str | Path, network: nn.Module | NetworkMaker | str | None) -> dict[str, Any]:
    """Read the arguments that make a model; see `Model.load`."""
    found = archive.read(path, "model")
    manifest = found.manifest
    try:
        spec = Spec.from_json(found.json["spec"])
        encoder = Encoder.from_json(found.json["prepare"]["encoder"])
        transform = Transform(**found.json["prepare"]["transform"])
        transform.load_state_dict(dict(found.tensors["transform"]))
        task = Task(spec.target, **manifest["task"])
        module = _network(Path(path), manifest["network"], spec, network)
        _set_weights(Path(path), found, module)
        return {
            "spec": spec, "encoder": encoder, "transform": transform, "network": module, "task": task,
            "baseline": np.array(manifest["baseline"]), "provenance": manifest["provenance"],
            "rows": found.tensors["rows"],
            "typical": found.tensors.get("typical"),  # there is none in older bundles
            **_beside(found),
        }  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise _not_whole(path, error) from error


def _beside(found: archive.Archive) -> dict[str, Any]:
    """Read what predicts beside the network; bundles of format version 1 have none of it."""
    manifest = found.manifest
    read: dict[str, Any] = {}
    if "trees" in manifest:
        read["trees"] = Trees.from_config(manifest["trees"])
        read["trees"].load_state_dict(dict(found.tensors["trees"]))
    if "blend" in manifest:
        read["blend"] = Blend.from_json(manifest["blend"])
    if "conformal" in manifest:
        arrays = {name: found.numpy() for name, found in found.tensors["conformal"].items()}
        read["conformal"] = Conformal.from_json(manifest["conformal"], arrays)
    if "threshold" in manifest:
        read["threshold"] = Threshold.from_json(manifest["threshold"])
    return read


def describe(path: str | Path) -> dict[str, Any]:
    """Say what a bundle holds, without building its network.

    Raises:
        BundleError: The file is not there, damaged, foreign or newer than this version.
    """
    found = archive.read(path, "model")
    try:
        return _describe(path, found)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise _not_whole(path, error) from error


def _describe(path: str | Path, found: archive.Archive) -> dict[str, Any]:
    manifest, spec, prepare = found.manifest, found.json["spec"], found.json["prepare"]
    target = spec["targets"][0]
    parameters = sum(tensor.numel() for tensor in found.tensors["weights"].values())
    schema = prepare["encoder"]["schema"]
    columns = []
    for column in schema["columns"]:
        values = ""
        if column["name"] in schema["ranges"] and traits_of(column["kind"]).storage == "numbers":
            low, high = schema["ranges"][column["name"]]
            values = f"{low:,.6g} to {high:,.6g}"
        elif column["name"] in schema["vocabularies"]:
            values = f"{len(schema['vocabularies'][column['name']]):,} known"
        columns.append({**column, "missing": 0, "values": values})
    classes = f": {', '.join(map(str, target['classes'][:12]))}" if target["classes"] else ""
    return {
        "format_version": manifest["format_version"],
        "target": target,
        "network": manifest["network"],
        "parameters": parameters,
        "scaling": prepare["transform"]["scaling"],
        "versions": manifest["versions"],
        "source": manifest["provenance"].get("name"),
        "train_rows": manifest["provenance"].get("train_rows"),
        "columns": columns,
        "lines": [
            f"{path}: format version {manifest['format_version']}, Sightline {manifest['versions']['sightline']}.",
            f"Predicts {target['name']}, {target['task']}{classes}.",
            f"Network: {manifest['network']['class']} {manifest['network'].get('config', '')}, "
            f"{parameters:,} parameters; numbers scaled by {prepare['transform']['scaling']}.",
            _trained_on(manifest["provenance"]),
        ],
    }


def _trained_on(provenance: Mapping[str, Any]) -> str:
    if "train_rows" not in provenance:
        return "It does not say which table it was trained on."
    return f"Trained on {provenance['train_rows']:,} rows of {provenance['name']}."


def _not_whole(path: str | Path, error: Exception) -> BundleError:
    return BundleError(
        f"{path} is not a whole model: {type(error).__name__}: {error}.",
        "Use another copy, or save the model again.",
    )


def versions() -> dict[str, str]:
    """Name the versions that made a model, for the record."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("sightline")
    except PackageNotFoundError:  # run from a source tree that is not installed
        own = "unknown"
    return {
        "sightline": own, "torch": torch.__version__, "numpy": np.__version__,
        "pyarrow": pa.__version__, "python": platform.python_version(),
    }  # fmt: skip


def _network(
    path: Path, said: Mapping[str, Any], spec: Spec, given: nn.Module | NetworkMaker | str | None
) -> nn.Module:
    name = said["class"]
    if said["built_in"] and given is None:
        if name not in BUILT_IN:
            raise BundleError(
                f"{path} holds a {name}, which this Sightline does not know.",
                "Install a newer Sightline (pip install --upgrade sightline).",
            )
        return BUILT_IN[name].from_config(spec, said["config"])
    if given is None:
        source = (
            f"; its source, for the record, is the member {said['source']}"
            if "source" in said
            else ""
        )
        raise BundleError(
            f"{path} holds a network of your own, {name}: a file must not bring code along{source}.",
            f"Load it with network={name}, or with --network file.py:{name} on the command line.",
        )
    return make_network(given, spec)


def _set_weights(path: Path, found: archive.Archive, network: nn.Module) -> None:
    try:
        network.load_state_dict(dict(found.tensors["weights"]))
    except RuntimeError as error:
        raise BundleError(
            f"{path}'s weights do not fit {type(network).__name__}: {error}.",
            "Give the class that the model was trained with.",
        ) from error
