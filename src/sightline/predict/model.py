"""The model: raw rows in, predictions out, computed with PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from sightline.archive import atomic_file
from sightline.build.modes import threads_set
from sightline.build.networks import NetworkMaker
from sightline.contracts import Spec
from sightline.errors import DataError, OptionError, counted, listed
from sightline.load.table import Table
from sightline.metrics.importance import importance
from sightline.predict import bundle, explain
from sightline.predict.calibration import Blend
from sightline.predict.conformal import Conformal
from sightline.predict.parts import NetworkPart, Part
from sightline.predict.path import Explanation, followed_layers
from sightline.predict.predictor import ROWS_OF_ONE_THREAD, Predictor
from sightline.predict.reference import Reference
from sightline.predict.row_predictor import Engine
from sightline.predict.tables import TableModel
from sightline.predict.task import Task
from sightline.predict.threshold import Threshold
from sightline.prepare.encode import Encoded, Encoder
from sightline.prepare.transform import Transform
from sightline.views import notebook
from sightline.views.card import with_threshold
from sightline.views.format import plain


class Model(Predictor, TableModel):
    """Everything that was fitted: raw rows in, predictions out.

    Made by `sl.fit(...).model`, `Training.model()` or `Model.load`.

    Attributes:
        spec: The network's inputs and the target.
        encoder, transform: The fitted preparation.
        network: The `nn.Module`.
        task: What its logits mean.
        baseline: The prediction that uses no features: the training rows' class shares [K], or their
            mean [1].
        provenance: Where the model comes from: source, split, test rows, versions, as JSON.
        rows: Named int64 tensors that go with the provenance, such as the test rows.
        typical: A typical row as the network takes it, the reference of explanations:
            `numeric` [1, D], `categorical` [1, C]. None in old bundles, which lack it.
        trees: The boosted trees of the model, or None.
        blend: The weight of each part, and the temperature; None uses the network alone.
        conformal: Scores of held-out rows, for prediction sets and intervals; or None.
        threshold: For two classes, the probability from which a row is the positive class; None chooses
            the likelier class.
        reference: How the training rows' columns and held-out predictions are distributed, which new rows are compared
            with (`sightline check`); None of a model that `sl.fit` did not make.
        card: The model card, Markdown; None of a model that `sl.fit` did not make.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> row = {"island": "Dream", "bill_length_mm": 46.5, "bill_depth_mm": 17.9, "sex": None,
        ...        "flipper_length_mm": 192, "body_mass_g": 3500, "year": 2007}
        >>> run.model.predict_proba(row).shape
        (1, 3)
    """

    def __init__(
        self,
        *,
        spec: Spec,
        encoder: Encoder,
        transform: Transform,
        network: nn.Module,
        task: Task,
        baseline: np.ndarray,
        provenance: Mapping[str, Any] | None = None,
        rows: Mapping[str, Tensor] | None = None,
        typical: Mapping[str, Tensor] | None = None,
        beside: Iterable[Part] = (),
        blend: Blend | None = None,
        conformal: Conformal | None = None,
        threshold: Threshold | None = None,
        reference: Reference | None = None,
        card: str | None = None,
    ) -> None:
        Predictor.__init__(
            self, spec=spec, transform=transform, task=task, parts=[NetworkPart(network), *beside],
            blend=blend, threshold=threshold,
        )  # fmt: skip
        self.encoder = encoder
        self.baseline = baseline
        self.provenance: dict[str, Any] = dict(provenance or {})
        self.rows = dict(rows or {})
        self.typical = typical
        self.conformal = conformal
        self.reference = reference
        self.card = card

    def engine(self) -> Engine:
        """Return what computes the values of few rows with PyTorch, on one thread; threads may share it."""

        def values(numbers: np.ndarray, codes: np.ndarray) -> np.ndarray:
            encoded = Encoded(numbers, codes, {}, {}, {})
            settled = torch.get_default_dtype() == torch.float32 and not any(
                module.training for module in self.modules
            )
            if not settled or not 0 < len(numbers) <= ROWS_OF_ONE_THREAD:
                return self.values_of(encoded)
            with self.in_turn(), threads_set(1), torch.inference_mode():
                return self.outputs(*self.inputs(encoded)).cpu().numpy()

        return values

    def _own_modules(self) -> list[ModuleType]:
        """Return the modules of classes of a network of one's own, which other processes may not find."""
        names = {type(module).__module__ for part in self.modules for module in part.modules()}
        found = [sys.modules[name] for name in sorted(names - {"__main__"}) if name in sys.modules]
        installed = ("sightline.", "torch.")
        return [
            module for module in found
            if not module.__name__.startswith(installed) and "site-packages" not in (module.__file__ or "")
        ]  # fmt: skip

    # ------------------------------------------------------------- explain

    def explain(self, row: Any) -> Explanation:
        """Follow one row from its raw values through the network to the prediction.

        Args:
            row: A dict with a value per column, or a table of one row.

        Raises:
            DataError: There is not exactly one row, or a column is missing.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", network="MLP", epochs=2,
            ...              quiet=True)
            >>> table = sl.read("examples/penguins.csv")
            >>> row = {name: table.cells(name, 3) for name in table.columns}
            >>> [layer.name for layer in run.model.explain(row).layers][:2]
            ['Input layer: 11 features', 'Embeddings: a vector for each category']
        """
        table = self.read(row)
        if table.rows != 1:
            raise DataError(f"{table.rows:,} rows were given to explain.", "Give one row.")
        return self.explain_rows(table, [0])[0]

    def explain_rows(self, table: Table, rows: list[int]) -> list[Explanation]:
        """Explain some rows of a table that `read` has read, with one scale for each layer."""
        return explain.explain_rows(self, self.encoder, table, rows, self.typical)

    def importance(
        self, data: Any, *, repeats: int = 5, seed: int = 0, encoding: str | None = None
    ) -> dict[str, Any]:
        """Measure each column's permutation importance: how much shuffling it worsens the metric.

        Args:
            data: Anything `sl.read` takes, the target column in it.
            repeats: How often each column's values are shuffled among the rows, from 1.
            seed: Decides the shuffles and, of many rows, which are used; from 0.
            encoding: Of a text file that is not UTF-8.

        Returns:
            As `sightline.metrics.importance.importance`: `columns`, the most important first, ...

        Raises:
            DataError: As `evaluate`.
            OptionError: repeats or seed is not a whole number, or too small.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
            >>> result = run.model.importance("examples/penguins.csv")
            >>> result["columns"][-1]["column"]
            'year'
        """
        predictions = self.predictions(data, encoding=encoding)
        truth, usable = self.truth(predictions)
        table = predictions.table
        return importance(self, table, truth, usable, table.name, repeats=repeats, seed=seed)

    # ------------------------------------------------------------- save and load

    def save(
        self, path: str | Path | IO[bytes], *, onnx: bool = False, alpha: float | None = None,
        check: Any = None,
    ) -> dict[str, Any] | None:  # fmt: skip
        """Write the model to one file, atomically; or into a binary file that is open for writing.

        A network of your own is saved as weights and, for the record, its source. Loading needs its
        class again, because a file must not run code.

        Args:
            path: The file, or an open binary file.
            onnx: Whether the file also holds the model as ONNX, checked as by `to_onnx`: then `OnnxModel.load`
                reads it too, without PyTorch and without the class of a network of your own.
            alpha, check: With `onnx`, as in `to_onnx`.

        Returns:
            With `onnx`, what `to_onnx` returns.

        Raises:
            OSError: The disk is full, or the folder cannot be written.
            OptionError, NetworkError, ExportError: With `onnx`, as `to_onnx`.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
            >>> run.model.save("penguins.sightline")
            >>> sl.Model.load("penguins.sightline").classes
            ('Adelie', 'Chinstrap', 'Gentoo')
        """
        exported, result = None, None
        if onnx:
            exported, result = self._exported(alpha, check)
        bundle.save(self._contents(), path, exported)
        return result

    def to_onnx(
        self, path: str | Path, *, alpha: float | None = None, check: Any = None
    ) -> dict[str, Any]:
        """Write the model as one ONNX file: raw columns in, labels and calibrated probabilities out.

        The preparation, all parts, the calibration and the decision are in the graph, so that any ONNX runtime
        gives the same answers. That is checked before the file is written (docs/production.md).

        Args:
            path: The file, such as "model.onnx"; replaced atomically.
            alpha: The share of rows whose set or interval may miss the truth; None is 0.1, and leaves the output out
                where the model does not allow it.
            check: Rows of your own to compare on as well, anything `predict` takes; or None.

        Returns:
            What was compared: `rows`, `largest_difference` of probabilities (or of numbers, in standard
            deviations of the target), `ties` (rows whose label differs because two classes are that close).

        Raises:
            OptionError: onnx or onnxruntime is not installed, or the model does not allow `alpha`.
            NetworkError: PyTorch cannot export the network.
            ExportError: The file's answers differ; it names the row and the column.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
            >>> run.model.to_onnx("penguins.onnx")["largest_difference"] < 1e-5
            True
        """
        content, result = self._exported(alpha, check)
        with atomic_file(Path(path)) as file:
            file.write(content)
        return result

    def with_threshold(self, threshold: float) -> Self:
        """Return the model with another decision threshold; nothing is fitted again.

        It decides as the model of a fit with this `threshold` does. A fit of a network of your own would also calibrate it,
        which this does not.

        Args:
            threshold: The probability from which a row is predicted as the positive class, between 0 and 1.

        Raises:
            OptionError: The target does not have two classes, or the threshold is not between 0 and 1.

        Example:
            >>> import sightline as sl
            >>> rows = "examples/penguins.csv"
            >>> model = sl.fit(rows, target="sex", positive="male", quality="fast", quiet=True).model
            >>> strict = model.with_threshold(0.9)
            >>> probability = model.predict_proba(rows)[:, model.classes.index("male")]
            >>> ((strict.predict(rows) == "male") == (probability >= 0.9)).all().item()
            True
        """
        target = self.spec.target
        if target.positive is None:
            what = f"has {len(target.classes)} classes" if target.classes else "is a number"
            raise OptionError(
                f"The target {target.name!r} {what}: a threshold is for two classes.",
                "Give a model of a target with two classes.",
            )
        given = Threshold.given(threshold)
        provenance = dict(self.provenance)
        if "options" in provenance:  # so that a refit keeps it
            options = provenance["options"]
            provenance["options"] = {
                **options,
                "model": {**options["model"], "threshold": given.value},
            }
        card = None if self.card is None else with_threshold(self.card, given.value)
        return self._of(
            replace(self._contents(), threshold=given, provenance=provenance, card=card)
        )

    def _contents(self) -> bundle.Contents:
        return bundle.Contents(
            spec=self.spec, encoder=self.encoder, transform=self.transform, task=self.task,
            baseline=self.baseline, parts=tuple(self.fitted_parts.values()),
            provenance=self.provenance, rows=self.rows, typical=self.typical, blend=self.blend,
            conformal=self.conformal, threshold=self.threshold, reference=self.reference, card=self.card,
        )  # fmt: skip

    def _exported(self, alpha: float | None, check: Any) -> tuple[bytes, dict[str, Any]]:
        """Return the model as ONNX, compared with itself."""
        from sightline.predict import parity, to_onnx

        contents = self._contents()
        return parity.checked(self, contents, to_onnx.build(contents, alpha), check)

    @classmethod
    def load(
        cls,
        path: str | Path | bytes | IO[bytes],
        *,
        network: nn.Module | NetworkMaker | str | None = None,
    ) -> Self:
        """Read a model that `save` wrote. Runs no code from the file.

        Args:
            path: The file, a run folder, the bytes of a file, or a binary file that is open for reading.
            network: For a network of your own: its class, a function of the spec, a module, or
                "file.py:Class".

        Raises:
            BundleError: The file is missing, damaged, foreign, newer than this version, or needs
                `network`.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
            >>> run.model.save("penguins.sightline")
            >>> model = sl.Model.load("penguins.sightline")
            >>> bool((model.predict("examples/penguins.csv") == run.model.predict("examples/penguins.csv")).all())
            True
        """
        return cls._of(bundle.load(path, network))

    @classmethod
    def _of(cls, contents: bundle.Contents) -> Self:
        loaded = {field.name: getattr(contents, field.name) for field in fields(contents)}
        first, *beside = loaded.pop("parts")
        return cls(network=first.module, beside=beside, **loaded)

    def __repr__(self) -> str:
        """Name the target, the columns that are needed and the size in a few lines."""
        target = self.spec.target
        classes = (
            f": {listed([plain(text, 30) for text in target.texts], 8)}" if target.classes else ""
        )
        columns = [plain(column.name, 30) for column in self.encoder.schema.features]
        return (
            f"Model of {plain(target.name, 40)}, {target.task}{classes}\n"
            f"  from {counted(len(columns), 'column')}: {listed(columns, 10)}\n"
            f"  {type(self.network).__name__}, {counted(_parameters(self.network), 'parameter')}"
        )

    def _repr_html_(self) -> str:
        columns = [{"name": c.name, "kind": c.kind} for c in self.encoder.schema.features]
        layers = [
            {"name": name, "parameters": _parameters(layer)}
            for name, layer in followed_layers(self.network)
        ]
        return notebook.of_model({
            "target": asdict(self.spec.target), "class": type(self.network).__name__,
            "parameters": _parameters(self.network), "columns": columns, "layers": layers,
        })  # fmt: skip


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
