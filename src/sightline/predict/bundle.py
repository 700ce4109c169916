"""The bundle: the file of a model, what it holds, and how it is read without running any code."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from sightline import archive
from sightline.build.modes import usual_settings
from sightline.build.networks import NetworkMaker
from sightline.build.restore import restored
from sightline.contracts import Spec
from sightline.contracts.exported import ONNX_MEMBER
from sightline.errors import BundleError, UserError
from sightline.predict.calibration import Blend
from sightline.predict.conformal import Conformal
from sightline.predict.described import BUNDLE, described_columns, own_version, predicts, trained_on
from sightline.predict.parts import PARTS, LoadContext, NetworkPart, Part, SavedPart
from sightline.predict.reference import Reference
from sightline.predict.task import Task
from sightline.predict.threshold import Threshold
from sightline.prepare.encode import Encoder
from sightline.prepare.transform import Transform

T = TypeVar("T")
CARD = "README.md"
"""The member that holds the model card."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a bundle holds: everything that makes a `Model`, whose attributes these are.

    Attributes:
        parts: The network and the other parts, in the registry's order.
    """

    spec: Spec
    encoder: Encoder
    transform: Transform
    task: Task
    baseline: np.ndarray
    parts: tuple[Part, ...]
    provenance: Mapping[str, Any]
    rows: Mapping[str, Tensor]
    typical: Mapping[str, Tensor] | None
    blend: Blend | None
    conformal: Conformal | None
    threshold: Threshold | None
    reference: Reference | None
    card: str | None


@dataclass(frozen=True)
class Fitted:
    """What a bundle holds besides its parts and their calibration: enough to prepare rows as for training.

    Attributes:
        network: How the network is rebuilt, from `describe_network`.
    """

    spec: Spec
    encoder: Encoder
    transform: Transform
    task: Task
    rows: Mapping[str, Tensor]
    network: Mapping[str, Any]


def save(contents: Contents, path: str | Path | IO[bytes], onnx: bytes | None = None) -> None:
    """Write a model; see `Model.save`. `onnx` is the same model as an ONNX file, or None."""
    saved = {part.name: part.save() for part in contents.parts}
    network = saved.pop(NetworkPart.name)
    manifest: dict[str, Any] = {
        "task": contents.task.to_json(),
        "baseline": contents.baseline.tolist(),
        NetworkPart.name: network.config,
        "versions": versions(),
        "provenance": contents.provenance,
    }
    tensors = {
        NetworkPart.member: network.tensors,
        "transform": contents.transform.state_dict(),
        "rows": contents.rows,
    }
    files = dict(network.files) | ({} if onnx is None else {ONNX_MEMBER: onnx})
    if contents.card is not None:
        files[CARD] = contents.card.encode("utf-8", "replace")
    if contents.typical is not None:
        tensors["typical"] = contents.typical
    for name, part in saved.items():
        manifest[name] = part.config
        tensors[PARTS[name].member] = part.tensors
        files |= part.files
    if contents.blend is not None:
        manifest["blend"] = contents.blend.to_json()
    if contents.conformal is not None:
        manifest["conformal"] = contents.conformal.to_json()
        tensors["conformal"] = {
            name: torch.from_numpy(values) for name, values in contents.conformal.arrays().items()
        }
    if contents.threshold is not None:
        manifest["threshold"] = contents.threshold.to_json()
    prepare = {"encoder": contents.encoder.to_json(), "transform": contents.transform.config()}
    members = {"spec": contents.spec.to_json(), "prepare": prepare}
    if contents.reference is not None:
        members["reference"] = contents.reference.to_json()
    archive.write(
        path, "model", manifest,
        json_members=members, tensors=tensors, files=files,
    )  # fmt: skip


def load(source: archive.Source, network: nn.Module | NetworkMaker | str | None) -> Contents:
    """Read what `save` wrote; see `Model.load`."""
    path = archive.named(source)
    if isinstance(source, str | Path) and (path / BUNDLE).is_file():
        source = path = path / BUNDLE  # a run folder
    opened = archive.read(source, "model")
    return _checked(path, lambda: _contents(opened, path, network))


def fitted(path: Path) -> Fitted:
    """Read what does not need the network's class.

    Raises:
        BundleError: The file does not exist, is damaged or foreign, or is newer than this version.
    """
    opened = archive.read(path, "model")
    return _checked(path, lambda: _fitted(opened, path))


def _checked(path: Path, read: Callable[[], T]) -> T:
    """Call a function that reads a file's contents; what it raises says which file."""
    try:
        with usual_settings():
            return read()
    except UserError:
        raise
    except Exception as error:  # a file may say anything
        raise _not_whole(path, error) from error


def _contents(
    opened: archive.Archive, path: Path, network: nn.Module | NetworkMaker | str | None
) -> Contents:
    manifest, fitted = opened.manifest, _fitted(opened, path)
    context = LoadContext(path, fitted.spec, network)
    parts = tuple(
        part.load(SavedPart(manifest[name], opened.tensors[part.member]), context)
        for name, part in PARTS.items()
        if name in manifest or part is NetworkPart
    )
    blend = Blend.from_json(manifest["blend"]) if "blend" in manifest else None
    if blend is not None and set(blend.weights) != {part.name for part in parts}:
        raise BundleError(
            f"{path} has weights for the parts {', '.join(blend.weights)}, but this Sightline finds "
            f"{', '.join(part.name for part in parts)} in it.",
            "Install a newer Sightline (pip install --upgrade sightline), or use another copy.",
        )
    conformal = None
    if "conformal" in manifest:
        arrays = {name: values.numpy() for name, values in opened.tensors["conformal"].items()}
        conformal = Conformal.from_json(manifest["conformal"], arrays)
    threshold = Threshold.from_json(manifest["threshold"]) if "threshold" in manifest else None
    return Contents(
        spec=fitted.spec,
        encoder=fitted.encoder,
        transform=fitted.transform,
        task=fitted.task,
        baseline=np.array(manifest["baseline"]),
        parts=parts,
        provenance=dict(manifest["provenance"]),
        rows=fitted.rows,
        typical=opened.tensors.get("typical"),  # older bundles have none
        blend=blend,
        conformal=conformal,
        threshold=threshold,
        reference=Reference.from_json(opened.json["reference"]) if "reference" in opened.json else None,
        card=opened.files[CARD].decode() if CARD in opened.files else None,
    )  # fmt: skip


def _fitted(opened: archive.Archive, path: Path) -> Fitted:
    spec, prepare = Spec.from_json(opened.json["spec"]), opened.json["prepare"]
    make = lambda: Transform(**prepare["transform"])  # noqa: E731
    transform = restored(make, opened.tensors["transform"], path, "preparation")
    return Fitted(
        spec, Encoder.from_json(prepare["encoder"]), transform,
        Task(spec.target, **opened.manifest["task"]), opened.tensors["rows"],
        opened.manifest[NetworkPart.name],
    )  # fmt: skip


def describe(path: str | Path) -> dict[str, Any]:
    """Return what a bundle holds, as JSON values and in words, without building its network.

    Raises:
        BundleError: The file does not exist, is damaged or foreign, or is newer than this version.
    """
    opened = archive.read(path, "model")
    try:
        return _describe(path, opened)
    except Exception as error:
        raise _not_whole(path, error) from error


def _describe(path: str | Path, opened: archive.Archive) -> dict[str, Any]:
    manifest, spec, prepare = opened.manifest, opened.json["spec"], opened.json["prepare"]
    target = spec["targets"][0]
    parameters = sum(tensor.numel() for tensor in opened.tensors[NetworkPart.member].values())
    return {
        "format_version": manifest["format_version"],
        "target": target,
        "network": manifest[NetworkPart.name],
        "parameters": parameters,
        "scaling": prepare["transform"]["scaling"],
        "versions": manifest["versions"],
        "source": manifest["provenance"].get("name"),
        "train_rows": manifest["provenance"].get("train_rows"),
        "columns": described_columns(prepare["encoder"]["schema"]),
        "lines": [
            f"{path}: format version {manifest['format_version']}, Sightline {manifest['versions']['sightline']}.",
            predicts(target),
            f"Network: {manifest['network']['class']} {manifest['network'].get('config', '')}, "
            f"{parameters:,} parameters; numbers scaled by {prepare['transform']['scaling']}.",
            trained_on(manifest["provenance"]),
        ],
    }


def _not_whole(path: str | Path, error: Exception) -> BundleError:
    return BundleError(
        f"{path} is not a complete model: {type(error).__name__}: {error}.",
        "Use another copy, or save the model again.",
    )


def versions() -> dict[str, str]:
    """Return the versions of Sightline and of the libraries that a model is made with."""
    return {
        "sightline": own_version(), "torch": torch.__version__, "numpy": np.__version__,
        "pyarrow": pa.__version__, "python": platform.python_version(),
    }  # fmt: skip
