"""Loads a model with the engine that computes it: PyTorch or ONNX Runtime. PyTorch is imported only where it is used."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import IO, Literal

from sightline import archive
from sightline.contracts.exported import ONNX_MEMBER
from sightline.errors import OptionError
from sightline.predict.described import BUNDLE
from sightline.predict.tables import TableModel

Engine = Literal["auto", "onnx", "torch"]


def load(
    source: str | Path | IO[bytes], engine: Engine = "auto", network: str | None = None, threads: int | None = None
) -> TableModel:  # fmt: skip
    """Load a model.

    Args:
        source: A .sightline or .onnx file, a run folder, or an open binary file.
        engine: "onnx" or "torch"; "auto" is ONNX Runtime for an .onnx file, and for a bundle that holds the model as
            ONNX where PyTorch is not installed, else PyTorch.
        network: For a network of your own, computed with PyTorch: "file.py:Class".
        threads: Of ONNX Runtime; None takes one for each processor core.

    Returns:
        A `Model` or an `OnnxModel`.

    Raises:
        BundleError: The file is no model.
        OptionError: The engine cannot compute it, or is not installed.

    Example:
        >>> import sightline as sl
        >>> from sightline.predict.loading import load
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> _ = run.model.save("penguins.sightline", onnx=True)
        >>> [type(load("penguins.sightline", engine)).__name__ for engine in ("auto", "onnx")]
        ['Model', 'OnnxModel']
    """
    if isinstance(source, str | Path) and Path(source).is_dir():
        source = Path(source) / BUNDLE
    path = archive.named(source)
    if not archive.is_zip(source):
        if engine == "torch":
            raise OptionError(
                f"{path} is an ONNX model, which PyTorch does not run.", "Leave --engine torch out."
            )
        if network is not None:
            raise OptionError(f"{path} is an ONNX model: it needs no --network.", "Leave it out.")
        engine = "onnx"
    has_torch = importlib.util.find_spec("torch") is not None
    if engine == "auto":
        engine = "torch" if has_torch or network is not None else "onnx"
    if engine == "onnx":
        from sightline.predict.onnx_model import OnnxModel

        return OnnxModel.load(source, threads=threads)
    if not has_torch:
        raise OptionError(
            f"PyTorch, which computes {path}, is not installed.",
            "Export the model where it is: sightline export MODEL --into-bundle.",
        )
    from sightline.predict.model import Model

    return Model.load(source, network=network)


def holds_onnx(source: str | Path | IO[bytes]) -> bool:
    """Tell whether a file is an ONNX model, or a bundle that holds one."""
    return not archive.is_zip(source) or archive.member(source, "model", ONNX_MEMBER) is not None
