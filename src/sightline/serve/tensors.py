"""Tensors of the Open Inference Protocol, version 2: requests and answers as JSON and in binary form.

The protocol: https://github.com/kserve/open-inference-protocol. Its binary tensor extension puts the data of
tensors behind the JSON, in the order of the tensors: numbers as little-endian arrays, BYTES as texts that each have
their length before them, in 4 bytes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from sightline.errors import shorten
from sightline.serve.errors import bad

DTYPES: dict[str, Any] = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}  # fmt: skip
INTEGERS = tuple(name for name in DTYPES if "INT" in name)
FLOATS = tuple(name for name in DTYPES if name.startswith("FP"))
LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Tensor:
    """A tensor of a request or an answer.

    Attributes:
        name: Of the input or output.
        datatype: Of the protocol, such as "FP64".
        shape: Its sizes.
        values: Its values in row-major order, as Python values; None is missing.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: list[Any]


@dataclass(frozen=True)
class InferRequest:
    """A request to infer.

    Attributes:
        id: What the client calls it; "" if it gave no name.
        inputs: Its tensors.
        outputs: The wanted outputs, each with whether in binary form; None wants all.
        binary: Whether outputs come in binary form where nothing else is said.
        parameters: Further ones.
    """

    id: str
    inputs: tuple[Tensor, ...]
    outputs: Mapping[str, bool] | None
    binary: bool
    parameters: Mapping[str, Any] = field(default_factory=dict)


def load_json(body: bytes | memoryview) -> Any:
    """Read JSON strictly.

    Raises:
        Refused: It is not valid JSON, holds NaN or an infinite number, or is nested too deeply.

    Example:
        >>> from sightline.serve.tensors import load_json
        >>> load_json(b'{"a": [1, null]}')
        {'a': [1, None]}
    """
    try:
        return json.loads(bytes(body), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise bad("The body is not UTF-8.") from error
    except ValueError as error:
        raise bad(f"The body is not valid JSON: {error}.") from error
    except RecursionError as error:
        raise bad("The JSON is nested too deeply.") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(
        f"{name} is no JSON number; a missing value is null (or NaN in a binary tensor)"
    )


def parse(body: bytes, header_length: str | None) -> InferRequest:
    """Read a request to infer.

    Args:
        body: All of it, decompressed.
        header_length: The header Inference-Header-Content-Length: the length of the JSON, where binary data follow.

    Raises:
        Refused: The request is not as the protocol says.

    Example:
        >>> from sightline.serve.tensors import parse
        >>> body = b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [2, 1], "data": [[1], [null]]}]}'
        >>> parse(body, None).inputs
        (Tensor(name='x', datatype='FP64', shape=(2, 1), values=[1, None]),)
    """
    size = len(body)
    if header_length is not None:
        if not (header_length.isascii() and header_length.isdigit()) or int(header_length[:20]) > size:  # fmt: skip
            raise bad(
                f"Inference-Header-Content-Length is {shorten(header_length)!r}; the body has {size:,} bytes."
            )
        size = int(header_length)
    data = load_json(body[:size])
    if not isinstance(data, dict):
        raise bad("The request must be a JSON object.")
    unknown = data.keys() - {"id", "inputs", "outputs", "parameters"}
    if unknown:
        raise bad(f"The request has no field {sorted(unknown)[0]!r}.")
    name = data.get("id", "")
    if not isinstance(name, str):
        raise bad("id must be a text.")
    parameters = _object(data.get("parameters"), "parameters")
    inputs = data.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise bad("inputs must be a list of tensors.")
    rest, at, tensors = memoryview(body)[size:], 0, []
    for given in inputs:
        tensor, used = _tensor(given, rest[at:])
        tensors.append(tensor)
        at += used
    if at != len(rest):
        raise bad(
            f"{len(rest):,} bytes follow the JSON, of which the tensors take {at:,}: give binary_data_size for each."
        )
    return InferRequest(
        name, tuple(tensors), _wanted(data.get("outputs"), bool(parameters.get("binary_data_output"))),
        bool(parameters.get("binary_data_output")), parameters,
    )  # fmt: skip


def _object(value: Any, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad(f"{what} must be a JSON object.")
    return value


def _wanted(outputs: Any, binary: bool) -> dict[str, bool] | None:
    if outputs is None or outputs == []:
        return None
    if not isinstance(outputs, list):
        raise bad("outputs must be a list.")
    wanted: dict[str, bool] = {}
    for output in outputs:
        if not isinstance(output, dict) or not isinstance(output.get("name"), str):
            raise bad("Every output needs a name.")
        parameters = _object(output.get("parameters"), "parameters")
        if parameters.get("classification"):
            raise bad("The classification extension is not supported; ask for 'probabilities'.")
        wanted[output["name"]] = bool(parameters.get("binary_data", binary))
    return wanted


def _tensor(given: Any, rest: memoryview) -> tuple[Tensor, int]:
    """Read one tensor; return it, and the number of bytes that it took of the binary data."""
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise bad("Every input needs a name.")
    name = shorten(given["name"])
    datatype, shape = given.get("datatype"), given.get("shape")
    if not isinstance(datatype, str) or (datatype != "BYTES" and datatype not in DTYPES):
        raise bad(
            f"The input {name!r} has the datatype {shorten(str(datatype))!r}; known are BYTES, {', '.join(DTYPES)}."
        )
    if not isinstance(shape, list) or not all(type(one) is int and one >= 0 for one in shape):
        raise bad(f"The input {name!r} needs a shape of whole numbers, such as [1, 1].")
    count = math.prod(shape)
    size = _object(given.get("parameters"), "parameters").get("binary_data_size")
    if size is None:
        values, used = _listed(name, datatype, given.get("data"), count), 0
    else:
        if "data" in given:
            raise bad(f"The input {name!r} has both data and binary_data_size.")
        if type(size) is not int or not 0 <= size <= len(rest):
            raise bad(
                f"The input {name!r} has binary_data_size {shorten(str(size))}; {len(rest):,} bytes are left."
            )
        block = rest[:size]
        values = _texts(name, block, count) if datatype == "BYTES" else _numbers(name, datatype, block, count)  # fmt: skip
        used = size
    return Tensor(given["name"], datatype, tuple(shape), values), used


def _listed(name: str, datatype: str, data: Any, count: int) -> list[Any]:
    """Return the data of a tensor in JSON, which may be nested."""
    if not isinstance(data, list):
        raise bad(f"The input {name!r} needs data, a list of {count:,} values.")
    values: list[Any] = data
    while any(type(value) is list for value in values):
        if not all(type(value) is list for value in values):
            raise bad(f"The data of the input {name!r} are nested unevenly.")
        values = [value for inner in values for value in inner]
    if len(values) != count:
        raise bad(f"The input {name!r} has {len(values):,} values; its shape says {count:,}.")
    if datatype == "BYTES":
        right: tuple[type, ...] = (str, type(None))
    elif datatype == "BOOL":
        right = (bool, type(None))
    elif datatype in INTEGERS:
        right = (int, type(None))
    else:
        right = (int, float, type(None))
    for value in values:
        if type(value) not in right:
            raise bad(f"The input {name!r} holds {shorten(repr(value), 40)}, which is not {datatype}.")  # fmt: skip
    if datatype in INTEGERS:
        limits = np.iinfo(DTYPES[datatype])
        for value in values:
            if value is not None and not limits.min <= value <= limits.max:
                raise bad(f"The input {name!r} holds {shorten(str(value), 40)}, which is not {datatype}.")  # fmt: skip
    return values


def _numbers(name: str, datatype: str, block: memoryview, count: int) -> list[Any]:
    dtype = np.dtype(DTYPES[datatype]).newbyteorder("<")
    if len(block) != count * dtype.itemsize:
        raise bad(
            f"The input {name!r} has {len(block):,} bytes; {count:,} values of {datatype} have {count * dtype.itemsize:,}."
        )
    if datatype == "BOOL" and len(block) and int(np.frombuffer(block, np.uint8).max()) > 1:
        raise bad(f"The input {name!r} is BOOL, but holds bytes other than 0 and 1.")
    values: list[Any] = np.frombuffer(block, dtype).tolist()
    return values


def _texts(name: str, block: memoryview, count: int) -> list[str]:
    texts: list[str] = []
    at, end = 0, len(block)
    while at < end and len(texts) < count:
        if at + LENGTH.size > end:
            raise bad(f"The input {name!r} ends within the length of value {len(texts):,}.")
        (length,) = LENGTH.unpack_from(block, at)
        at += LENGTH.size
        if at + length > end:
            raise bad(
                f"The input {name!r}: value {len(texts):,} has {length:,} bytes, but {end - at:,} are left."
            )
        try:
            texts.append(str(block[at : at + length], "utf-8"))
        except UnicodeDecodeError as error:
            raise bad(f"The input {name!r}: value {len(texts):,} is not UTF-8.") from error
        at += length
    if at != end or len(texts) != count:
        raise bad(f"The input {name!r} does not hold {count:,} values, as its shape says.")
    return texts


# ------------------------------------------------------------- answers


def datatype_of(array: np.ndarray) -> str:
    """Return the protocol's name of an array's type.

    Example:
        >>> import numpy as np
        >>> from sightline.serve.tensors import datatype_of
        >>> datatype_of(np.zeros(1)), datatype_of(np.array(["a"], object))
        ('FP64', 'BYTES')
    """
    if array.dtype.kind in "OU":
        return "BYTES"
    return next(name for name, dtype in DTYPES.items() if array.dtype == dtype)


def write(
    head: Mapping[str, Any], outputs: Sequence[tuple[str, np.ndarray, bool]]
) -> tuple[bytes, int | None]:
    """Write an answer.

    Args:
        head: The fields before the outputs.
        outputs: Name, array and whether in binary form.

    Returns:
        The body, and the length of its JSON if binary data follow.

    Example:
        >>> import numpy as np
        >>> from sightline.serve.tensors import write
        >>> write({"model_name": "m"}, [("x", np.array([1.5]), True)])[0][-8:] == np.array([1.5]).tobytes()
        True
    """
    described, blocks = [], []
    for name, array, binary in outputs:
        one: dict[str, Any] = {
            "name": name, "datatype": datatype_of(array), "shape": list(array.shape),
        }  # fmt: skip
        if binary:
            block = _bytes(array)
            one["parameters"] = {"binary_data_size": len(block)}
            blocks.append(block)
        else:
            one["data"] = finite_list(array.ravel())
        described.append(one)
    text = json.dumps(
        {**head, "outputs": described}, allow_nan=False, ensure_ascii=False, separators=(",", ":")
    ).encode()
    return (b"".join([text, *blocks]), len(text)) if blocks else (text, None)


def finite_list(array: np.ndarray) -> list[Any]:
    """Return a flat array as JSON values; null in the place of numbers that are not finite.

    Example:
        >>> import numpy as np
        >>> from sightline.serve.tensors import finite_list
        >>> finite_list(np.array([1.5, np.nan]))
        [1.5, None]
    """
    if array.dtype.kind != "f" or np.isfinite(array).all():
        values: list[Any] = array.tolist()
        return values
    return [value if math.isfinite(value) else None for value in array.tolist()]


def _bytes(array: np.ndarray) -> bytes:
    if array.dtype.kind in "OU":
        texts = [text.encode() for text in array.ravel().tolist()]
        return b"".join(LENGTH.pack(len(text)) + text for text in texts)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
