"""The model: schema, preparation, network and task in one object and one file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from sightline.build.ensemble import Ensemble
from sightline.build.networks import NetworkMaker
from sightline.build.trees import Trees, side_by_side
from sightline.contracts import BadRow, Spec, traits_of
from sightline.errors import DataError, OptionError, counted, listed
from sightline.load.table import Table, read_like
from sightline.load.target import target_values
from sightline.metrics.measure import measure
from sightline.predict import attributions, bundle
from sightline.predict.calibration import Blend
from sightline.predict.conformal import Conformal
from sightline.predict.importance import importance
from sightline.predict.path import Explanation, evaluating, follow, one_scale, stops
from sightline.predict.task import Task
from sightline.predict.threshold import Threshold
from sightline.prepare.encode import Encoded, Encoder
from sightline.prepare.transform import Transform
from sightline.views import notebook

CHUNK_ROWS = 16_384
MOST_NAMED = 10
CACHED_ROWS = 1_024
"""So few rows go through a network at once that what it computes stays in a processor's cache,
which is twice as fast; an accelerator takes them all."""
EXPLAINED_TOGETHER = 256
"""So many rows at most take their turns together when they are explained."""


@dataclass(frozen=True)
class Predictions:
    """Predictions for every row given, in the order given.

    Attributes:
        labels: [rows], labels in the type they came in, or numbers; None where a row is bad.
        values: float32 [rows, K] probabilities, or float64 [rows, 1] numbers; NaN where a row is bad.
        bad: The rows that could not be read, and why.
        missing, unseen, out_of_range: Per column, how many rows.
        extra: Columns that the model does not know, ignored.
        table: The rows as they were read.
    """

    labels: np.ndarray
    values: np.ndarray
    bad: tuple[BadRow, ...]
    missing: Mapping[str, int]
    unseen: Mapping[str, int]
    out_of_range: Mapping[str, int]
    extra: tuple[str, ...]
    table: Table

    def report(self) -> list[str]:
        """Say what was noticed in the rows, one sentence each; empty when nothing was."""
        said = []
        if self.extra:
            names = listed(self.extra, MOST_NAMED)
            said.append(f"Ignored, because the model does not know them: {names}.")
        for what, counts in (
            ("missing values", self.missing),
            ("values never seen in training", self.unseen),
            ("values outside the training range", self.out_of_range),
        ):
            if counts:
                found = [f"{name} {count:,}" for name, count in counts.items()]
                said.append(f"Rows with {what}: {listed(found, MOST_NAMED, 'column')}.")
        if self.bad:
            row, error = self.bad[0]
            many = counted(len(self.bad), "row has", "rows have")
            said.append(f"{many} no prediction; the first is row {row:,}: {error}.")
        return said

    def _repr_html_(self) -> str:
        labels, values = self.labels[:10].tolist(), self.values[:10]
        shares = values.max(axis=1).tolist() if values.shape[1] > 1 else [None] * len(labels)
        first = [list(pair) for pair in zip(labels, shares, strict=True)]
        return notebook.of_predictions(
            {"rows": len(self.labels), "first": first, "report": self.report()}
        )


class Model:
    """Raw rows in, predictions out: everything that was fitted, and nothing else.

    Made by `sl.fit(...).model`, `Training.model()` or `Model.load`.

    Attributes:
        spec: What the network knows of the table.
        encoder, transform: The fitted preparation.
        network: The `nn.Module`.
        task: What its logits mean.
        baseline: The prediction that knows no features: class shares [K], or the mean [1].
        provenance: Where the model comes from: source, split, test rows, versions, as JSON.
        rows: Named int64 tensors that go with the provenance, such as the test rows.
        typical: A typical row as the network takes it, which predictions are compared with to
            explain them: `numeric` [1, D], `categorical` [1, C]. None in bundles that lack it.
        trees: Boosted trees that predict beside the network, or None.
        blend: How the parts are weighed, and the temperature; None takes the network as it is.
        conformal: Scores of held-out rows, for sets and intervals; or None.
        threshold: For two classes, from which probability on a row is the positive class; None is
            the likelier class.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", epochs=2, quiet=True)
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
        rows: Mapping[str, torch.Tensor] | None = None,
        typical: Mapping[str, torch.Tensor] | None = None,
        trees: Trees | None = None,
        blend: Blend | None = None,
        conformal: Conformal | None = None,
        threshold: Threshold | None = None,
    ) -> None:
        self.spec = spec
        self.encoder = encoder
        self.transform = transform
        self.network = network.eval()
        self.task = task
        self.baseline = baseline
        self.provenance: dict[str, Any] = dict(provenance or {})
        self.rows = dict(rows or {})
        self.typical = typical
        self.trees = trees
        self.blend = blend
        self.conformal = conformal
        self.threshold = threshold

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes in the order of `predict_proba`'s columns; empty for regression."""
        return self.spec.target.classes

    # ------------------------------------------------------------- predict

    def predict(self, data: Any) -> np.ndarray:
        """Predict a label (or number) for each row.

        Args:
            data: Anything `sl.read` takes, or a dict with one value per column for one row.

        Returns:
            [rows], in the type that the target had; None where a row cannot be read.

        Raises:
            DataError: A column the model needs is missing, or the source cannot be read.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", epochs=2, quiet=True)
            >>> len(run.model.predict("examples/penguins.csv"))
            344
        """
        return self.predictions(data).labels

    def predict_proba(self, data: Any) -> np.ndarray:
        """Predict each class's probability: float32 [rows, classes], NaN where a row is bad.

        Raises:
            OptionError: The model is a regression.
            DataError: As `predict`.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", epochs=2, quiet=True)
            >>> bool(abs(run.model.predict_proba("examples/penguins.csv").sum(axis=1) - 1).max() < 1e-5)
            True
        """
        if not self.task.classification:
            raise OptionError(
                f"The model predicts {self.spec.target.name!r}, a number: it has no probabilities.",
                "Use predict().",
            )
        return self.predictions(data).values

    def predictions(
        self, data: Any, *, keep: tuple[str, ...] = (), encoding: str | None = None
    ) -> Predictions:
        """Predict, and say what was missing, unseen, out of range or unreadable.

        Args:
            data: As in `predict`.
            keep: Columns to carry along in `Predictions.table`.
            encoding: Of a text file that is not UTF-8.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", epochs=2, quiet=True)
            >>> run.model.predictions("examples/penguins.csv").missing["sex"]
            11
        """
        table = self.read(data, keep=keep, encoding=encoding)
        reader = self.encoder.open(table)
        wide = np.float32 if self.task.classification else np.float64
        values = np.full((table.rows, self.spec.outputs), np.nan, wide)
        counts: tuple[dict[str, int], dict[str, int], dict[str, int]] = ({}, {}, {})
        bad = [row for row, _ in table.bad]
        good = np.delete(np.arange(table.rows), bad) if bad else None
        for start in range(0, table.rows - len(bad), CHUNK_ROWS):
            some = slice(start, start + CHUNK_ROWS)
            rows = some if good is None else good[some]
            encoded = reader(rows)
            values[rows] = self.values_of(encoded)
            for total, part in zip(
                counts, (encoded.missing, encoded.unseen, encoded.out_of_range), strict=True
            ):
                for name, count in part.items():
                    total[name] = total.get(name, 0) + count
        labels = self.decode(np.nan_to_num(values) if bad else values)
        if bad:
            labels = labels.astype(object)
            labels[bad] = None
        missing, unseen, outside = counts
        return Predictions(labels, values, table.bad, missing, unseen, outside, table.extra, table)

    def predict_set(self, data: Any, alpha: float = 0.1) -> np.ndarray:
        """Predict, for each row, a set of classes that holds the true one with probability 1 - alpha.

        Conformal prediction (Sadinle, Lei and Wasserman 2019): the promise holds on average over
        rows drawn as the held-out ones were. A set may be empty, where a row is stranger than a
        share 1 - alpha of those.

        Args:
            data: As in `predict`.
            alpha: The share of rows whose set may miss the true class.

        Returns:
            bool [rows, classes]; a row that cannot be read has an empty set.

        Raises:
            OptionError: The model is a regression, was not calibrated on held-out rows, or alpha is
                too small for how many there were.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", epochs=5, quiet=True)
            >>> run.model.predict_set("examples/penguins.csv", alpha=0.1).shape
            (344, 3)
        """
        if not self.task.classification:
            raise OptionError(
                f"The target {self.spec.target.name!r} is a number: it has no set of classes.",
                "Use predict_interval().",
            )
        return self.sets(self.predictions(data).values, alpha)

    def sets(self, values_NK: np.ndarray, alpha: float) -> np.ndarray:
        """Return the sets of rows whose probabilities are known, bool [N, K]; see `predict_set`."""
        found = self._conformal().sets(np.nan_to_num(values_NK), alpha)
        found[np.isnan(values_NK)] = False
        return found

    def predict_interval(self, data: Any, alpha: float = 0.1) -> np.ndarray:
        """Predict, for each row, an interval that holds the true number with probability 1 - alpha.

        Args:
            data: As in `predict`.
            alpha: The share of rows whose interval may miss the true number.

        Returns:
            float64 [rows, 2], the lower and the upper end; NaN for a row that cannot be read.

        Raises:
            OptionError: The model is a classification, was not calibrated on held-out rows, or alpha
                is too small for how many there were.
        """
        if self.task.classification:
            raise OptionError(
                f"The target {self.spec.target.name!r} has classes: it has no interval.",
                "Use predict_set().",
            )
        return self.intervals(self.predictions(data).values, alpha)

    def intervals(self, values_N1: np.ndarray, alpha: float) -> np.ndarray:
        """Return the intervals of rows whose predictions are known, [N, 2]; see `predict_interval`."""
        return self._conformal().interval(values_N1[:, 0], alpha)

    def _conformal(self) -> Conformal:
        if self.conformal is None:
            raise OptionError(
                "This model keeps no scores of held-out rows, which sets and intervals are made of.",
                "Fit with calibrate=True (--calibrate), or without a network of your own.",
            )
        return self.conformal

    def explain(self, row: Any) -> Explanation:
        """Follow one row through the network, from its raw values to the named class.

        Args:
            row: A dict with a value per column, or a table of one row.

        Raises:
            DataError: More or fewer rows than one, or a column is missing.

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
        reader = self.encoder.open(table)
        bad = dict(table.bad)
        found = {
            row: self._explain(table, reader(slice(row, row + 1)), row, bad.get(row))
            for row in rows
        }
        good = [row for row, one in found.items() if one.error is None]
        found.update(zip(good, one_scale([found[row] for row in good]), strict=True))
        note = attributions.missing_extra()
        if self.typical is None:
            note = attributions.NO_TYPICAL_ROW
        if note is not None:
            return [replace(found[row], pushes_note=note) for row in rows]
        for start in range(0, len(good), EXPLAINED_TOGETHER):
            some = good[start : start + EXPLAINED_TOGETHER]
            encoded = reader(np.array(some))
            values = [found[row].probabilities or (found[row].prediction,) for row in some]
            pushes = attributions.attribute(self, *self.inputs(encoded), np.array(values))
            for row, one in zip(some, pushes, strict=True):
                found[row] = replace(found[row], pushes=one, pushes_note=None)
        return [found[row] for row in rows]

    def _explain(self, table: Table, encoded: Encoded, row: int, error: str | None) -> Explanation:
        numeric, categorical = self.inputs(encoded)
        names = [f.name for f in self.spec.numeric] + [f.name for f in self.spec.categorical]
        inputs = [*numeric[0].tolist(), *(float(code) for code in categorical[0].tolist())]
        notes = _notes(encoded.missing, "is missing", "are missing")
        seen = "a value never seen in training"
        notes += _notes(encoded.unseen, f"has {seen}", f"have {seen}")
        seen = "outside the training range"
        notes += _notes(encoded.out_of_range, f"is {seen}", f"are {seen}")
        raw = {
            column.name: table.cells(column.name, row) for column in self.encoder.schema.features
        }
        layers, logits = follow(self.network, numeric, categorical)
        with evaluating(self.network):
            values = self.outputs(numeric, categorical).cpu().numpy()
            opened = opened_up(self, numeric, categorical, logits)
        flat = logits.float().mean(dim=1) if logits.dim() == 3 else logits.float()
        return Explanation(
            raw=raw,
            encoded=dict(zip(names, inputs, strict=True)),
            notes=tuple(notes),
            layers=layers,
            logits=opened.pop("logits", tuple(flat[0].tolist())),
            probabilities=tuple(values[0].tolist()) if self.task.classification else (),
            classes=self.classes,
            prediction=None if error else self.decode(values).tolist()[0],
            error=error,
            pushes_note=attributions.NO_PREDICTION if error else None,
            **opened,
        )

    def read(self, data: Any, *, keep: tuple[str, ...] = (), encoding: str | None = None) -> Table:
        """Read rows as the training table was read; one dict of single values is one row."""
        known: dict[int, str] = {}
        if isinstance(data, Table):
            known = dict(data.bad)  # what could not be read is missing in its columns
            data = pa.table({name: plain_column(data, name) for name in data.columns})
        if isinstance(data, Mapping) and not any(
            isinstance(value, Sized) and not isinstance(value, str | bytes)
            for value in data.values()
        ):
            data = {name: [value] for name, value in data.items()}
        table = read_like(data, self.encoder.schema, keep=keep, encoding=encoding)
        if not known:
            return table
        bad = sorted({**dict(table.bad), **known}.items())
        return replace(table, bad=tuple(BadRow(row, error) for row, error in bad))

    # ------------------------------------------------------------- evaluate

    def evaluate(self, data: Any, *, encoding: str | None = None) -> dict[str, Any]:
        """Measure the model on rows with a known target.

        Args:
            data: Anything `sl.read` takes, the target column in it.
            encoding: Of a text file that is not UTF-8.

        Returns:
            The metrics of `sightline.metrics.measure.measure`, and `left_out`: rows without a
            usable target or features.

        Raises:
            DataError: The target is not there, has a class the model does not know, or no row
                can be used.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", epochs=30, quiet=True)
            >>> run.model.evaluate("examples/penguins.csv")["accuracy"] > 0.9
            True
        """
        found = self.predictions(data, encoding=encoding)
        return self.measure(found)

    def measure(self, found: Predictions, rows: np.ndarray | None = None) -> dict[str, Any]:
        """Measure predictions whose table holds the target, on some of its rows or all."""
        truth, usable = self.truth(found)
        if rows is not None:
            chosen = np.zeros(len(usable), bool)
            chosen[rows] = True
            usable &= chosen
        if not usable.any():
            raise DataError(
                f"{found.table.name} has no row with a target.", "Give rows to compare with."
            )
        asked = len(usable) if rows is None else len(rows)
        values = found.values[usable]
        guessed = self.choose(values) if self.task.classification else None
        metrics = measure(
            self.spec.target, values, truth[usable], self.baseline, guessed,
            threshold=self.threshold is not None,
        )  # fmt: skip
        return {**metrics, "left_out": asked - int(usable.sum())}

    def truth(self, found: Predictions) -> tuple[np.ndarray, np.ndarray]:
        """Return what predictions are to be compared with.

        Returns:
            The true class numbers (int64) or numbers, [rows], and the rows that can be compared,
            bool [rows]: those with a target whose features could be read.

        Raises:
            DataError: The target is not there, or has a class the model does not know.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", epochs=2, quiet=True)
            >>> truth, usable = run.model.truth(run.model.predictions("examples/penguins.csv"))
            >>> truth[:3].tolist(), int(usable.sum())
            ([0, 0, 0], 344)
        """
        target = self.spec.target
        if target.name not in found.table.columns:
            raise DataError(
                f"{found.table.name} has no column {target.name!r}, the target: nothing to compare with.",
                "Give rows with the target, or use predict.",
            )
        truth = target_values(found.table, target)
        usable = found.table.columns[target.name].is_valid().to_numpy().copy()
        usable[[row for row, _ in found.bad]] = False
        if self.task.classification and (strange := usable & (truth < 0)).any():
            row = int(np.flatnonzero(strange)[0])
            raise DataError(
                f"{found.table.name}, row {row:,}: the class {found.table.cells(target.name, row)!r} "
                f"is none of the model's ({', '.join(map(str, target.classes[:10]))}).",
                "Leave such rows out, or train the model with them.",
            )
        return truth, usable

    def importance(
        self, data: Any, *, repeats: int = 5, seed: int = 0, encoding: str | None = None
    ) -> dict[str, Any]:
        """Measure how much worse the predictions get when one column tells nothing.

        Args:
            data: Anything `sl.read` takes, the target column in it.
            repeats: How often each column's values are shuffled among the rows.
            seed: Decides the shuffles and, of many rows, which are used.
            encoding: Of a text file that is not UTF-8.

        Returns:
            As `sightline.predict.importance.importance`: `columns`, the most important first, ...

        Raises:
            DataError: As `evaluate`.
            OptionError: repeats is not a whole number from 1, or seed not one from 0.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", epochs=30, quiet=True)
            >>> found = run.model.importance("examples/penguins.csv")
            >>> found["columns"][-1]["column"]
            'year'
        """
        found = self.predictions(data, encoding=encoding)
        return importance(self, found, found.table.name, repeats=repeats, seed=seed)

    # ------------------------------------------------------------- save and load

    def save(self, path: str | Path) -> None:
        """Write the model to one file, atomically: all of it or nothing.

        A network of your own is saved as weights and, for the record, its source; loading it
        takes the class again, because a file must not run code.

        Raises:
            OSError: The disk is full, or the folder cannot be written.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", epochs=2, quiet=True)
            >>> run.model.save("penguins.sightline")
            >>> sl.Model.load("penguins.sightline").classes
            ('Adelie', 'Chinstrap', 'Gentoo')
        """
        bundle.save(self, path)

    @classmethod
    def load(
        cls, path: str | Path, *, network: nn.Module | NetworkMaker | str | None = None
    ) -> Self:
        """Read a model that `save` wrote. Runs no code from the file.

        Args:
            path: The file.
            network: For a network of your own: its class, a function of the spec, a module, or
                "file.py:Class".

        Raises:
            BundleError: The file is not there, damaged, foreign, newer than this version, or
                needs `network`.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", epochs=2, quiet=True)
            >>> run.model.save("penguins.sightline")
            >>> model = sl.Model.load("penguins.sightline")
            >>> bool((model.predict("examples/penguins.csv") == run.model.predict("examples/penguins.csv")).all())
            True
        """
        return cls(**bundle.load(path, network))

    # ------------------------------------------------------------- helpers

    def _repr_html_(self) -> str:
        columns = [{"name": c.name, "kind": c.kind} for c in self.encoder.schema.features]
        layers = [{"name": name, "parameters": _count(part)} for name, part in stops(self.network)]
        return notebook.of_model({
            "target": asdict(self.spec.target), "class": type(self.network).__name__,
            "parameters": _count(self.network), "columns": columns, "layers": layers,
        })  # fmt: skip

    def inputs(self, encoded: Encoded) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn encoded rows into what the network takes: numeric [B, D] and categorical [B, C].

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", epochs=2, quiet=True)
            >>> reader = run.model.encoder.open(run.model.read("examples/penguins.csv"))
            >>> [list(part.shape) for part in run.model.inputs(reader(slice(0, 4)))]
            [[4, 9], [4, 2]]
        """
        device = next(self.network.parameters()).device
        with torch.no_grad():
            features = self.transform(torch.from_numpy(encoded.numeric))
        return features.to(device), torch.from_numpy(encoded.categorical).to(device)

    def values_of(self, encoded: Encoded) -> np.ndarray:
        """Return probabilities [B, K], or numbers [B, 1], of encoded rows.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", epochs=2, quiet=True)
            >>> reader = run.model.encoder.open(run.model.read("examples/penguins.csv"))
            >>> run.model.values_of(reader(slice(0, 4))).shape
            (4, 3)
        """
        if not len(encoded.numeric):
            return np.empty((0, self.spec.outputs), np.float32)
        with evaluating(self.network):
            numeric, codes = self.inputs(encoded)
            rows = rows_at_once(numeric)
            places = [slice(start, start + rows) for start in range(0, len(numeric), rows)]

            def run(part: slice) -> torch.Tensor:
                return self.outputs(numeric[part], codes[part])

            # A network of your own may keep things between its layers: one thread alone runs it.
            threads = torch.get_num_threads() if isinstance(self.network, Ensemble) else 1
            return torch.cat(side_by_side(run, places, threads)).cpu().numpy()

    def outputs(self, numeric_BD: torch.Tensor, codes_BC: torch.Tensor) -> torch.Tensor:
        """Return probabilities [B, K], or numbers [B, 1] in the target's unit, of prepared rows.

        The parts' log-probabilities, each times its weight, add up to the logits; a number is the
        weighted mean of the parts' numbers.
        """
        if self.blend is None:
            return self.task.head(self.network(numeric_BD, codes_BC))
        parts = self.parts(numeric_BD, codes_BC)
        total = sum(self.blend.weights[name] * value for name, value in parts.items())
        assert isinstance(total, torch.Tensor)
        return total.softmax(dim=1) if self.task.classification else total

    def parts(self, numeric_BD: torch.Tensor, codes_BC: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what each part of the model says of prepared rows, by itself.

        Returns:
            "network" and, where there are any, "trees": log-probabilities [B, K] (an ensemble's of
            its members' mean), or numbers [B, 1] in the target's unit.
        """
        said = {"network": self.task.head(self.network(numeric_BD, codes_BC))}
        if self.task.classification:
            said["network"] = log_probabilities(said["network"])
        if self.trees is not None:
            margins = self.trees(numeric_BD, codes_BC)
            said["trees"] = margins if self.task.classification else self.task.head(margins)
        return said

    def decode(self, values: np.ndarray) -> np.ndarray:
        """Turn probabilities [B, K] or numbers [B, 1] into labels or numbers [B]."""
        if self.threshold is None:
            return self.task.decode(values)
        return self.task.decode(np.eye(2)[self.choose(values)])

    def choose(self, values_NK: np.ndarray) -> np.ndarray:
        """Choose a class by its probability: int64 numbers [N], by the threshold where there is one."""
        positive = self.spec.target.positive
        if self.threshold is None or positive is None:
            likeliest: np.ndarray = values_NK.argmax(axis=1)
            return likeliest
        place = self.classes.index(positive)
        return np.where(values_NK[:, place] >= self.threshold.value, place, 1 - place)


def _notes(names: Iterable[str], one: str, many: str) -> list[str]:
    """Say the same of several columns: of a few in a sentence each, of many in one."""
    named = list(names)
    if len(named) <= MOST_NAMED:
        return [f"{name} {one}" for name in named]
    return [f"{listed(named, MOST_NAMED, 'column')} {many}"]


def opened_up(
    model: Model, numeric_1D: torch.Tensor, codes_1C: torch.Tensor, logits: torch.Tensor
) -> dict[str, Any]:
    """Say what the parts of a model and the members of its network make of one row.

    Args:
        model: The model.
        numeric_1D, codes_1C: The row, prepared.
        logits: What its network gives, [1, K] or [1, M, K].

    Returns:
        `members`, and with a blend `parts`, `logits`, `temperature`, `uncalibrated`, as in
        `Explanation`.
    """
    said: dict[str, Any] = {}
    if logits.dim() == 3:
        each = model.task.member_values(logits)[0]  # [M, K]
        said["members"] = {
            "mean": each.mean(dim=0).tolist(), "values": each.tolist(),
            "spread": each.std(dim=0, correction=0).tolist(),
        }  # fmt: skip
    if model.blend is None:
        return said
    weights, classes = model.blend.weights, model.task.classification
    parts = {name: found[0].double() for name, found in model.parts(numeric_1D, codes_1C).items()}
    shares = {name: weights[name] * found for name, found in parts.items()}
    said["parts"] = tuple(
        {
            "name": name, "weight": weights[name], "share": shares[name].tolist(),
            "values": (found.exp() if classes else found).tolist(),
        }
        for name, found in parts.items()
    )  # fmt: skip
    if classes:
        total = torch.stack(list(shares.values())).sum(dim=0)
        said["logits"] = tuple(total.tolist())
        said["temperature"] = model.blend.temperature
        said["uncalibrated"] = tuple((total * model.blend.temperature).softmax(dim=0).tolist())
    return said


def rows_at_once(numeric_BD: torch.Tensor) -> int:
    """Say how many rows to put through a network at a time, where they are.

    Example:
        >>> import torch
        >>> from sightline.predict.model import rows_at_once
        >>> rows_at_once(torch.zeros(5000, 3))
        1024
    """
    return CACHED_ROWS if numeric_BD.device.type == "cpu" else max(len(numeric_BD), 1)


def log_probabilities(probabilities: torch.Tensor) -> torch.Tensor:
    """Return the logarithms of probabilities, those of 0 as of the smallest float32."""
    return probabilities.clamp(min=torch.finfo(torch.float32).tiny).log()


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def plain_column(table: Table, name: str) -> pa.ChunkedArray:
    """Return a typed column as plain Arrow values again, dates as timestamps."""
    data = table.columns[name]
    if name in table.schema and traits_of(table.schema[name].kind).storage == "moments":
        return data.cast(pa.timestamp("us"))
    if pa.types.is_dictionary(data.type):
        return data.cast(pa.string())
    whole = name in table.schema and table.schema[name].values == "integer"
    if whole and pa.types.is_floating(data.type):
        return data.cast(pa.int64(), safe=False)
    return data
