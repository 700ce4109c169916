"""A model that answers requests: raw values in, encoded rows, computed values, decisions.

Letters: B rows, A numbers, C codes, K outputs.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sightline.errors import OptionError, UserError, counted
from sightline.predict.loading import Engine, holds_onnx, load
from sightline.predict.onnx_model import OnnxModel
from sightline.predict.tables import TableModel
from sightline.prepare.unusual import Finder
from sightline.serve.errors import Refused, bad
from sightline.serve.explained import explained
from sightline.serve.files import ModelFile
from sightline.serve.inputs import inputs_of

WARM_UP_ROWS = (1, 2, 64)


class EncodedRows(NamedTuple):
    """Rows as the engine takes them: numbers [B, A] and codes [B, C]."""

    numbers: np.ndarray
    codes: np.ndarray


class Computed(NamedTuple):
    """What was computed of a request's rows.

    Attributes:
        values: Probabilities [B, K], or numbers [B, 1].
        missing, unseen, out_of_range: By column, the number of such rows.
    """

    values: np.ndarray
    missing: dict[str, int]
    unseen: dict[str, int]
    out_of_range: dict[str, int]


class Served:
    """A model under a name, loaded and warm.

    Args:
        file: The model's file.
        engine: What computes.
        network: For a network of your own: "file.py:Class".

    Attributes:
        model: The loaded `Model` or `OnnxModel`.
        engine: "onnx" or "torch".
        inputs: Its columns.
        finder: Marks unusual values.

    Raises:
        UserError: The file is no model that can be used here.
    """

    def __init__(self, file: ModelFile, engine: Engine = "auto", network: str | None = None) -> None:  # fmt: skip
        self.name, self.version, self.sha256 = file.name, file.version, file.sha256
        self.model = load_file(file, engine, network)
        self.engine = "onnx" if isinstance(self.model, OnnxModel) else "torch"
        self.inputs = inputs_of(self.model.encoder.schema)
        self.known = frozenset(one.name for one in self.inputs)
        self.finder = Finder(self.model.encoder)
        predictor = self.model.predictor()
        self._encode_row = predictor.encode
        self._compute = self.model.engine()
        self._width = len(self.model.encoder.numbers), len(self.model.encoder.codes)
        self.texts = self.model.spec.target.texts
        self.shown = self.model.spec.target.shown
        self._warm_up()

    def _warm_up(self) -> None:
        """Predict rows of missing values: whatever is made at the first call is made now."""
        for count in WARM_UP_ROWS:
            self.compute(self.encode([dict.fromkeys(self.known)] * count))

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> EncodedRows:
        """Encode rows of plain values.

        Raises:
            Refused: A row cannot be predicted; its number and the reason are named.
        """
        numbers, codes = [], []
        for number, row in enumerate(rows):
            try:
                encoded = self._encode_row(row)
            except (UserError, UnicodeEncodeError) as error:
                raise bad(f"Row {number:,}: {error}") from error
            if encoded is None:
                raise bad(f"Row {number:,}: {self.model.read(row).bad[0].error}.")
            numbers.append(encoded[0])
            codes.append(encoded[1])
        return EncodedRows(
            np.array(numbers, np.float64).reshape(len(rows), self._width[0]),
            np.array(codes, np.int32).reshape(len(rows), self._width[1]),
        )

    def compute(self, rows: EncodedRows) -> np.ndarray:
        """Compute probabilities [B, K], or numbers [B, 1]."""
        return self._compute(rows.numbers, rows.codes)

    # ------------------------------------------------------------- decisions

    def labels(self, values: np.ndarray) -> list[Any]:
        """Return each row's class as JSON holds it; null where there is no value."""
        chosen = self.model.choose(np.nan_to_num(values)).tolist()
        good = np.isfinite(values).all(axis=1).tolist()
        return [self.shown[one] if well else None for one, well in zip(chosen, good, strict=True)]

    def conformal(self, values: np.ndarray, alpha: float) -> np.ndarray:
        """Return prediction sets, bool [B, K], or intervals [B, 2].

        Raises:
            Refused: The model allows no sets or intervals, or none at this alpha.
        """
        try:
            found = self.model.sets if self.model.classification else self.model.intervals
            return found(values, alpha)
        except OptionError as error:
            raise bad(str(error)) from error

    # ------------------------------------------------------------- explanations

    def explain(self, row: Mapping[str, Any], layers: bool | None) -> dict[str, Any]:
        """Return how a row's prediction is made: the parts, the members, and the path through the layers.

        Args:
            row: Its values.
            layers: Whether the path is wanted; None gives it where it can be given.

        Raises:
            Refused: The path is wanted and the model is computed with ONNX Runtime (501), or the row is not valid.
        """
        if layers and self.engine == "onnx":
            raise Refused(
                501,
                "The path through the layers needs PyTorch: pip install sightline, and serve the .sightline file with "
                "--engine torch.",
                "needs torch",
            )
        try:
            found = explained(self.model, row)
        except (UserError, UnicodeEncodeError) as error:
            raise bad(str(error)) from error
        if layers is False:
            found.pop("layers", None)
        return found


def load_file(file: ModelFile, engine: Engine, network: str | None) -> TableModel:
    """Load a model; "auto" is ONNX Runtime wherever the file holds the model as ONNX.

    Raises:
        UserError: The file is no model, or the engine cannot compute it.
    """
    if engine == "auto" and network is None and holds_onnx(_Named(file)):
        engine = "onnx"
    model = load(_Named(file), engine, network, threads=1)
    if not isinstance(model, OnnxModel):
        import torch

        torch.set_num_threads(1)  # the processes share the processor, not the threads of one
    return model


class _Named(io.BytesIO):
    """The bytes of a file, with its path for error messages."""

    def __init__(self, file: ModelFile) -> None:
        super().__init__(file.content)
        self.name = str(Path(file.path))


def rows_said(rows: int, most: int) -> Refused:
    """Return the answer to a request with too many rows."""
    return Refused(
        413, f"The request has {counted(rows, 'row')}; the server takes {most:,} (--max-rows).", "too many rows"
    )  # fmt: skip
