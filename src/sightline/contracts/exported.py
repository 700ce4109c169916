"""What an ONNX file of Sightline says about itself, in its `metadata_props`."""

from __future__ import annotations

from collections.abc import Collection

FORMAT_VERSION = 2
"""Of the metadata; a newer file is refused."""
ONNX_MEMBER = "model.onnx"
"""The member of a bundle that holds the model as ONNX."""
METADATA = "sightline"
"""The key of the metadata, a JSON text."""
NUMBERS, CODES = "/numbers", "/codes"
"""The tensors in the graph that hold what an encoder returns: numbers [rows, A] and codes [rows, C]."""
MISSING_SUFFIX = " is missing"
"""What the name of a truth value's second input ends with; ONNX has no missing truth value."""


def mask_name(column: str, columns: Collection[str]) -> str:
    """Return the name of a truth value's second input, which no column has.

    Example:
        >>> from sightline.contracts.exported import mask_name
        >>> mask_name("smoker", ["age", "smoker"])
        'smoker is missing'
    """
    name = column + MISSING_SUFFIX
    while name in columns:
        name += MISSING_SUFFIX
    return name
