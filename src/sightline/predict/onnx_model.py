"""A model in an ONNX file, run by ONNX Runtime: the same tables in, the same predictions out, without PyTorch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from sightline import archive
from sightline.contracts import Spec, Target, traits_of
from sightline.contracts.exported import (
    CODES,
    FORMAT_VERSION,
    METADATA,
    NUMBERS,
    ONNX_MEMBER,
)
from sightline.errors import BundleError, OptionError, UserError, listed
from sightline.export.graph import onnx_library
from sightline.load.table import Table
from sightline.load.values import Spellings, map_codes
from sightline.predict.conformal import Conformal
from sightline.predict.described import described_columns, predicts, trained_on
from sightline.predict.row_predictor import Engine
from sightline.predict.tables import TableModel
from sightline.predict.threshold import Threshold
from sightline.prepare.encode import Encoded, Encoder

Inputs = dict[str, np.ndarray]
ROWS_AT_ONCE = 1024
"""More rows at once take more memory (16,384 rows of ten networks 1.5 GB) and are no faster."""


class OnnxModel(TableModel):
    """A model that `Model.to_onnx` wrote. Made by `OnnxModel.load`.

    It predicts and evaluates as `Model` does, by the part of the graph behind the raw columns. `session` is the whole
    graph, whose inputs `inputs` makes of a table.

    Attributes:
        metadata: What the file says about itself: target, classes, inputs, outputs, versions, provenance.
        threads: Of ONNX Runtime; None is one for each processor core.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> _ = run.model.to_onnx("penguins.onnx")
        >>> model = sl.OnnxModel.load("penguins.onnx")
        >>> bool((model.predict("examples/penguins.csv") == run.model.predict("examples/penguins.csv")).all())
        True
    """

    def __init__(
        self, graph: Any, metadata: Mapping[str, Any], content: bytes, threads: int | None = None
    ) -> None:
        self._content, self.threads = content, threads
        self._inner = inner_model(graph, metadata)
        self._encoded = _open(self._inner, threads)
        self.metadata = metadata
        target = Spec.from_json({"numeric": [], "categorical": [], "targets": [metadata["target"]]})
        self.spec = target
        self.encoder = Encoder.from_json(metadata["encoder"])
        self.baseline = np.array(metadata["baseline"])
        self.provenance = dict(metadata["provenance"])
        threshold, conformal = metadata["threshold"], metadata["conformal"]
        self.threshold = None if threshold is None else Threshold.from_json(threshold)
        self.conformal = None
        if conformal is not None:
            names = [name for name in ("scores", "shares", "knots", "sizes") if name in conformal]
            arrays = {name: np.array(conformal[name], np.float64) for name in names}
            self.conformal = Conformal.from_json(conformal, arrays)
        self.output_names: dict[str, str] = dict(metadata["outputs"])

    def __reduce__(self) -> tuple[Any, ...]:  # a session cannot be pickled
        return _load, (self._content, self.threads)

    @cached_property
    def session(self) -> Any:
        """The whole graph, raw columns in, as an `onnxruntime.InferenceSession`; opened when it is first asked for."""
        return _open(self._content, self.threads)

    @property
    def target(self) -> Target:
        """What the model predicts."""
        return self.spec.target

    @classmethod
    def load(cls, source: str | Path | bytes | IO[bytes], *, threads: int | None = None) -> Self:
        """Read a file that `Model.to_onnx` wrote. Runs no code from the file.

        Args:
            source: The file, or a .sightline file that holds one (`Model.save(onnx=True)`); its bytes, or a binary file that is open for reading.
            threads: Of ONNX Runtime; None takes one for each processor core.

        Raises:
            BundleError: The file is missing, damaged, not made by Sightline, or newer than this version.
            OptionError: onnxruntime is not installed.

        Example:
            >>> import sightline as sl
            >>> try:
            ...     sl.OnnxModel.load(b"no model")
            ... except sl.SightlineError as error:
            ...     print(str(error).split(":")[0])
            (bytes in memory) is not an ONNX model
        """
        path = archive.named(source)
        content = archive.content(source)
        if content[:2] == b"PK":
            member = archive.member(content, "model", ONNX_MEMBER)
            if member is None:
                raise BundleError(
                    f"{path} does not hold the model as ONNX.",
                    "Add it with sightline export MODEL --into-bundle.",
                )
            content = member
        return cls.of(content, path, threads)

    @classmethod
    def of(cls, content: bytes, path: Path, threads: int | None = None) -> Self:
        """Make the model of the bytes of a file; `path` names it in errors, which are those of `load`."""
        graph = _parsed(content, path)
        text = {entry.key: entry.value for entry in graph.metadata_props}.get(METADATA)
        if text is None:
            raise BundleError(
                f"{path} is an ONNX model, but not one that Sightline wrote.",
                "Write it with sightline export MODEL -o model.onnx.",
            )
        try:
            metadata = json.loads(text)
            version = metadata["format_version"]
            known = version <= FORMAT_VERSION
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise BundleError(
                f"{path}'s metadata cannot be read: {type(error).__name__}: {error}.",
                "Export the model again.",
            ) from error
        if known:
            try:
                return cls(graph, metadata, content, threads)
            except UserError:
                raise
            except Exception as error:
                raise BundleError(
                    f"{path} cannot be used: {type(error).__name__}: {error}.",
                    "Export the model again.",
                ) from error
        raise BundleError(
            f"{path} has metadata of version {version}; this Sightline reads up to {FORMAT_VERSION}.",
            "Install a newer Sightline (pip install --upgrade sightline).",
        )

    def describe(self, name: str) -> dict[str, Any]:
        """Return what the file holds, as JSON values and in words.

        Args:
            name: Of the file, for the words.
        """
        metadata = self.metadata
        tensors = {
            what: [
                {"name": value.name, "type": value.type, "shape": value.shape} for value in values
            ]
            for what, values in (
                ("inputs", self.session.get_inputs()),
                ("optional_inputs", self.session.get_overridable_initializers()),
                ("outputs", self.session.get_outputs()),
            )
        }  # fmt: skip
        names = {
            what: listed([value["name"] for value in values], 12)
            for what, values in tensors.items()
        }
        left_out = metadata["left_out"]
        return {
            "format_version": metadata["format_version"], "target": metadata["target"],
            "versions": metadata["versions"], "alpha": metadata["alpha"], **tensors,
            "columns": described_columns(metadata["encoder"]["schema"]),
            "lines": [
                f"{name}: an ONNX model, written by Sightline {metadata['versions']['sightline']}.",
                predicts(metadata["target"]),
                f"Inputs: {names['inputs']}.",
                *([f"Optional inputs: {names['optional_inputs']}."] if tensors["optional_inputs"] else []),
                f"Outputs: {names['outputs']}.",
                *([f"Without sets and intervals: {left_out}"] if left_out else []),
                trained_on(metadata["provenance"]),
            ],
        }  # fmt: skip

    # ------------------------------------------------------------- rows to inputs

    def inputs(self, data: Any) -> Inputs:
        """Return the inputs of the session for some rows, by name.

        Args:
            data: Anything `Model.predict` takes; rows that cannot be read are left out.

        Raises:
            DataError: As `Model.predict`.
        """
        table = self.read(data)
        rows = np.delete(np.arange(table.rows), [row for row, _ in table.bad])
        reader = self.encoder.open(table)
        return self._open_inputs(table)(rows, reader(rows))

    def run(self, inputs: Inputs) -> np.ndarray:
        """Run the session: probabilities [N, K], or numbers [N, 1]."""
        what = "probabilities" if self.classification else "value"
        found: np.ndarray = self.session.run([self.output_names[what]], inputs)[0]
        return found.reshape(len(found), -1)

    def values_of(self, encoded: Encoded) -> np.ndarray:
        """Return probabilities [B, K], or numbers [B, 1], of encoded rows; see `Model.values_of`."""
        numbers, codes = encoded.numeric, encoded.categorical
        blocks = [
            self._run(self._encoded, numbers[start : start + ROWS_AT_ONCE], codes[start : start + ROWS_AT_ONCE])
            for start in range(0, len(numbers), ROWS_AT_ONCE)
        ]  # fmt: skip
        return np.concatenate(blocks) if blocks else self._run(self._encoded, numbers, codes)

    def engine(self) -> Engine:
        """Return what computes the values of few rows: on one thread, which several callers may share."""
        session = _open(self._inner, 1)
        return lambda numbers, codes: self._run(session, numbers, codes)

    def _run(self, session: Any, numbers: np.ndarray, codes: np.ndarray) -> np.ndarray:
        if not len(numbers):
            return np.empty((0, self.spec.outputs), np.float32)
        # A network of one's own may leave inputs out.
        given = {NUMBERS: numbers, CODES: codes.astype(np.int64, copy=False)}
        inputs = {value.name: given[value.name] for value in session.get_inputs()}
        found: np.ndarray = session.run(None, inputs)[0]
        return found if found.ndim == 2 else found[:, None]

    def _open_inputs(self, table: Table) -> Callable[[slice | np.ndarray, Encoded], Inputs]:
        """Return a function from some rows of a table, and their encoding, to the session's inputs."""
        texts: dict[str, np.ndarray] = {}
        for encoding in self.encoder.encodings:
            column = encoding.column
            if encoding.how == "codes" and self._storage(column) == "words":
                texts[column] = self._texts(table, column)

        spans = self.encoder.spans

        def inputs(rows: slice | np.ndarray, encoded: Encoded) -> Inputs:
            made: Inputs = {}
            for encoding, span in zip(self.encoder.encodings, spans, strict=True):
                column = encoding.column
                match encoding.how:
                    case "number" | "words":
                        if span.stop > span.start:  # a text may have no n-grams
                            made[column] = encoded.numeric[:, span]
                    case "date":
                        made[column] = table.moments(column)[rows][:, None]
                    case "codes":
                        if column in texts:
                            made[column] = texts[column][rows][:, None]
                        else:
                            flags = table.flags(column)[rows][:, None]
                            made[column] = flags == 1
                            made[self.metadata["inputs"][column]["missing"]] = flags < 0
            return made

        return inputs

    def _storage(self, column: str) -> str:
        return traits_of(self.encoder.schema[column].kind).storage

    def _texts(self, table: Table, column: str) -> np.ndarray:
        """Return a category as the graph wants it: the known spelling of each value, "" where missing."""
        schema = self.encoder.schema
        words = table.words(column)
        given = words.dictionary.to_pylist()
        if schema.rules > 1:
            known = Spellings(schema.vocabularies[column])
            given = [known.find(word) or word for word in given]
        texts = np.array([*given, ""], object)
        chosen: np.ndarray = texts[map_codes(words.indices, np.arange(len(given)), len(given))]
        return chosen


def _load(content: bytes, threads: int | None) -> OnnxModel:
    return OnnxModel.load(content, threads=threads)


def inner_model(model: Any, metadata: Mapping[str, Any]) -> bytes:
    """Cut the raw columns off a model: what is left takes encoded numbers and codes.

    Args:
        model: The `onnx.ModelProto`.
        metadata: Its metadata.

    Returns:
        The bytes of a model with the inputs `/numbers` and `/codes`, as an `Encoder` returns them, and one output:
        probabilities, or the number.
    """
    onnx = onnx_library()
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    wanted = metadata["outputs"].get("probabilities") or metadata["outputs"]["value"]
    kept, inputs, todo = set(), set(), [wanted]
    while todo:
        name = todo.pop()
        if name in (NUMBERS, CODES):
            inputs.add(name)
        elif name in made_by and id(made_by[name]) not in kept:
            kept.add(id(made_by[name]))
            todo += made_by[name].input
    nodes = [node for node in graph.node if id(node) in kept]
    used = {name for node in nodes for name in node.input}
    kinds = {NUMBERS: onnx.TensorProto.DOUBLE, CODES: onnx.TensorProto.INT64}
    shapes = [
        onnx.helper.make_tensor_value_info(name, kinds[name], ["rows", None])
        for name in sorted(inputs)
    ]
    output = next(value for value in graph.output if value.name == wanted)
    constants = [tensor for tensor in graph.initializer if tensor.name in used]
    inner = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "encoded", shapes, [output], constants),
        ir_version=model.ir_version, opset_imports=model.opset_import,
    )  # fmt: skip
    encoded: bytes = inner.SerializeToString()
    return encoded


def _parsed(content: bytes, path: Path) -> Any:
    """Read the bytes of a file as an ONNX model.

    Raises:
        BundleError: They are none.
        OptionError: onnx is not installed.
    """
    onnx = onnx_library()
    try:
        return onnx.load_from_string(content)
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BundleError(
            f"{path} is not an ONNX model: {first}.", "Use another copy, or export the model again."
        ) from error


def _open(content: bytes, threads: int | None) -> Any:
    """Open an ONNX Runtime session on bytes, and no path: then no weights outside the file are read."""
    try:
        import onnxruntime
    except ImportError as error:
        raise OptionError(
            "An ONNX model needs the library onnxruntime.",
            'Install it: pip install "sightline[onnx]".',
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
