"""A model in an ONNX file, run by ONNX Runtime: the same tables in, the same predictions out, without PyTorch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from sightline import archive
from sightline.contracts import Spec, Target, traits_of
from sightline.contracts.exported import FORMAT_VERSION, METADATA, MISSING_SUFFIX, ONNX_MEMBER
from sightline.errors import BundleError, OptionError
from sightline.load.table import Table
from sightline.load.values import Spellings, map_codes
from sightline.predict.conformal import Conformal
from sightline.predict.tables import TableModel
from sightline.predict.threshold import Threshold
from sightline.prepare.encode import Encoded, Encoder, Reader

Inputs = dict[str, np.ndarray]


class OnnxModel(TableModel):
    """A model that `Model.to_onnx` wrote. Made by `OnnxModel.load`.

    It predicts and evaluates as `Model` does; `session` is the ONNX Runtime session, whose inputs `inputs` makes
    of a table.

    Attributes:
        metadata: What the file says about itself: target, classes, inputs, outputs, versions, provenance.
        session: The `onnxruntime.InferenceSession`.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> _ = run.model.to_onnx("penguins.onnx")
        >>> model = sl.OnnxModel.load("penguins.onnx")
        >>> bool((model.predict("examples/penguins.csv") == run.model.predict("examples/penguins.csv")).all())
        True
    """

    def __init__(self, session: Any, metadata: Mapping[str, Any]) -> None:
        self.session = session
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
            arrays = {name: np.array(conformal[name], np.float64) for name in ("scores", "shares")}
            self.conformal = Conformal.from_json(conformal, arrays)
        self.output_names: dict[str, str] = dict(metadata["outputs"])

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
        return cls.of(open_session(content, path, threads), path)

    @classmethod
    def of(cls, session: Any, path: Path) -> Self:
        """Make the model of an open session; `path` names it in errors, which are those of `load`."""
        text = session.get_modelmeta().custom_metadata_map.get(METADATA)
        if text is None:
            raise BundleError(
                f"{path} is an ONNX model, but not one that Sightline wrote.",
                "Write it with sightline export MODEL -o model.onnx.",
            )
        try:
            metadata = json.loads(text)
            version = metadata["format_version"]
            if version <= FORMAT_VERSION:
                return cls(session, metadata)
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            IndexError,
            RecursionError,
        ) as error:
            raise BundleError(
                f"{path}'s metadata cannot be read: {type(error).__name__}: {error}.",
                "Export the model again.",
            ) from error
        raise BundleError(
            f"{path} has metadata of version {version}; this Sightline reads up to {FORMAT_VERSION}.",
            "Install a newer Sightline (pip install --upgrade sightline).",
        )

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

    def _opened(
        self, table: Table, reader: Reader
    ) -> Callable[[slice | np.ndarray, Encoded], np.ndarray]:
        inputs = self._open_inputs(table)

        def values(rows: slice | np.ndarray, encoded: Encoded) -> np.ndarray:
            if not len(encoded.numeric):
                return np.empty((0, self.spec.outputs), np.float32)
            return self.run(inputs(rows, encoded))

        return values

    def _open_inputs(self, table: Table) -> Callable[[slice | np.ndarray, Encoded], Inputs]:
        """Return a function from some rows of a table, and their encoding, to the session's inputs."""
        texts: dict[str, np.ndarray] = {}
        for encoding in self.encoder.encodings:
            column = encoding.column
            if encoding.how == "codes" and self._storage(column) == "words":
                texts[column] = self._texts(table, column)

        def inputs(rows: slice | np.ndarray, encoded: Encoded) -> Inputs:
            made: Inputs = {}
            at = 0  # the place among the encoder's numbers
            for encoding in self.encoder.encodings:
                column = encoding.column
                match encoding.how:
                    case "number":
                        made[column] = encoded.numeric[:, at : at + 1]
                        at += 1
                    case "words":
                        width = len(self.encoder.schema.vocabularies[column])
                        if width:
                            made[column] = encoded.numeric[:, at : at + width]
                        at += width
                    case "date":
                        made[column] = table.moments(column)[rows][:, None]
                        at += 1 + len(encoding.parts)
                    case "codes":
                        if column in texts:
                            made[column] = texts[column][rows][:, None]
                        else:
                            flags = table.flags(column)[rows][:, None]
                            made[column] = flags == 1
                            made[column + MISSING_SUFFIX] = flags < 0
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


def open_session(content: bytes, path: Path, threads: int | None = None) -> Any:
    """Open an ONNX Runtime session on the bytes of a file.

    Bytes, and no path: then no weights outside the file are read.

    Raises:
        BundleError: The content is no ONNX model.
        OptionError: onnxruntime is not installed.
    """
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
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BundleError(
            f"{path} is not an ONNX model: {first}.", "Use another copy, or export the model again."
        ) from error
