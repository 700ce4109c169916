"""refit(): a fit of new rows with the schema and the options of a model, and with its weights on request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sightline.contracts import FitOptions, Schema
from sightline.contracts.options import CUSTOM, ModelOptions, ReadOptions, SplitOptions
from sightline.errors import OptionError, counted, listed, shorten
from sightline.load.databases import is_address
from sightline.load.pieces import can_be_pieces
from sightline.load.sources import as_source
from sightline.load.table import Table, pieces_like, read_like
from sightline.load.text_files import is_stream, spool
from sightline.pipeline.fit import fit_with
from sightline.pipeline.folder import Run
from sightline.pipeline.warm_start import WarmStart
from sightline.predict.model import Model

FIXED = ("target", "task", "positive", "kinds", "valid", "group", "time", "time_feature", "numeric", "network",
         "hidden", "dropout")  # fmt: skip
"""Options that a warm start cannot change: its weights, folds and parts were made with them."""
NAMED = 8
"""With more columns or categories, a sentence names this many and counts the rest."""


@dataclass(frozen=True)
class Changes:
    """How a new table differs from the one that a model was fitted on.

    Attributes:
        new_columns: Columns that the model does not know; they are not used.
        new_categories, gone_categories: By column, categories of the new training rows that the model did not know,
            and categories of the model that they lack.
    """

    new_columns: tuple[str, ...]
    new_categories: Mapping[str, tuple[str, ...]]
    gone_categories: Mapping[str, tuple[str, ...]]

    def sentences(self) -> list[str]:
        """Return the changes in words; empty without any.

        Example:
            >>> from sightline.pipeline.refit import Changes
            >>> Changes(("colour",), {"city": ("Bern",)}, {}).sentences()
            ['Columns that the model did not know, which are not used: colour.', "1 new category of 'city': Bern."]
        """
        found = []
        if self.new_columns:
            found.append(
                f"Columns that the model did not know, which are not used: {listed(self.new_columns, NAMED)}."
            )
        for what, columns in (("new", self.new_categories), ("missing", self.gone_categories)):
            for name, words in columns.items():
                number = counted(len(words), f"{what} category", f"{what} categories")
                found.append(f"{number} of {name!r}: {listed([shorten(w, 30) for w in words], NAMED)}.")  # fmt: skip
        return found


def refit(
    source: Any, model: Model | str | Path, *, warm_start: bool = False, **changes: Any
) -> tuple[Run, Changes]:
    """Fit new rows with a model's target, kinds of columns and options.

    The columns that the model uses keep their kinds, whatever the new values look like; other columns are left out.
    Weights are drawn anew, unless `warm_start` is given.

    A warm start keeps the model's preparation and begins with the weights of its network; other parts are made anew.
    Every row that the model has seen keeps its fold or part, so that no row is measured by weights that have learned from
    it. New categories are added to those that the default network knows; for another network they are unseen.

    Args:
        source: The new rows, anything `sl.read` takes, or a table that it has read.
        model: A model that `sl.fit` made, or its file.
        warm_start: Whether to begin with the model's weights.
        changes: Options of `sl.fit` that replace the model's, such as `quality`, `run` or `quiet`.

    Returns:
        The run, and how the table differs from the model's.

    Raises:
        DataError: A column that the model uses is missing; or as `sl.fit`. Of a warm start, a class that the model does
            not know.
        OptionError: The model does not hold its options, or had an object as one that must be given again; or as `sl.fit`.
            Of a warm start, the model does not hold the rows that it has seen, or an option cannot be changed.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> again, changes = sl.refit("examples/penguins.csv", run.model, seed=1, quiet=True)
        >>> again.model.classes == run.model.classes, changes.sentences()
        (True, [])
        >>> warm, _ = sl.refit("examples/penguins.csv", run.model, warm_start=True, quiet=True)
        >>> warm.epochs[0].valid_loss == min(epoch.valid_loss for epoch in run.epochs)
        True
    """
    if not isinstance(model, Model):
        given = changes.get("network")
        model = Model.load(model, network=given)
    options = options_of(model)
    if not is_address(source):
        options["query"] = None  # the model's own was for a database
    source = as_source(source, changes.get("query", options["query"]))
    start = None
    if warm_start:
        start = WarmStart.of(model)
        _refuse_changes(options, changes)
        if options["network"] == CUSTOM:
            options["network"] = model.network
    if not isinstance(source, Table) and isinstance(source, str | Path) and is_stream(Path(source)):
        source = spool(Path(source))  # it is read twice
    schema = model.encoder.schema
    encoding = changes.get("encoding", options["encoding"])
    if can_be_pieces(source):  # its columns are needed, not its rows
        new = next(pieces_like(source, schema, encoding=encoding)).extra
    else:
        new = read_like(source, schema, encoding=encoding).extra
    used = {column.name: column.kind for column in schema.columns if column.role != "ignored"}
    names = list(source.columns) if isinstance(source, Table) else [*used, *new]
    options["kinds"] = {**{name: kind for name, kind in used.items() if name in names}, **dict(changes.pop("kinds", {}))}  # fmt: skip
    roles = {options[role] for role in ("group", "time", "weight")} | {model.spec.target.name}
    options["drop"] = [name for name in new if name not in roles]
    known = {column.name for column in schema.columns}
    unknown = tuple(name for name in options["drop"] if name not in known)
    merged = {**options, **changes}
    view = merged.pop("view", None)
    for name, value in merged.items():
        if value == CUSTOM:
            raise OptionError(
                f"The model was fitted with {name}= an object, which its file does not hold.",
                f"Give {name} again.",
            )
    run = fit_with(source, FitOptions.of(merged.pop("target"), **merged), view, start)
    return run, changes_between(schema, run.model.encoder.schema, unknown)


def _refuse_changes(options: dict[str, Any], changes: dict[str, Any]) -> None:
    """Refuse options that a warm start cannot change."""
    for name in FIXED:
        if name not in changes:
            continue
        # A class of your own, or rows in memory, are given again: the model does not hold them.
        again = options[name] == CUSTOM or (name == "network" and options[name] is not None)
        plain = isinstance(changes[name], str | int | float | list | tuple | dict | None)
        if not again and not (plain and changes[name] == options[name]):
            raise OptionError(
                f"A warm start cannot change {name}: it is {options[name]!r} for the model, and {changes[name]!r} was given.",
                f"Leave {name} out, or fit without warm_start (--warm-start).",
            )


def options_of(model: Model) -> dict[str, Any]:
    """Return the arguments of `sl.fit` that a model was fitted with, but those about the run folder.

    Raises:
        OptionError: The model does not hold them.
    """
    kept = model.provenance.get("options")
    if kept is None:
        raise OptionError(
            "The model does not hold the options that it was fitted with: sl.fit did not make it, or an older "
            "Sightline did.",
            "Fit the new rows with sl.fit (sightline fit --target).",
        )
    options = FitOptions.from_json(kept)
    groups: dict[str, Any] = {}
    target = model.spec.target
    for group, kind in ((options.read, ReadOptions), (options.split, SplitOptions), (options.model, ModelOptions)):  # fmt: skip
        groups |= {field.name: getattr(group, field.name) for field in fields(kind)}
    if (
        target.positive != target.usual_positive
    ):  # given, or recorded by a version with another rule
        groups["positive"] = target.positive
    return {"target": options.target, "seed": options.seed, **groups, **options.training}


def changes_between(before: Schema, now: Schema, new_columns: tuple[str, ...]) -> Changes:
    """Compare the vocabularies of two models' schemas."""
    new: dict[str, tuple[str, ...]] = {}
    gone: dict[str, tuple[str, ...]] = {}
    for column in before.features:
        if column.kind != "categorical" or column.name not in now.vocabularies:
            continue
        old_words, words = before.vocabularies[column.name], now.vocabularies[column.name]
        added = tuple(word for word in words if word not in set(old_words))
        lost = tuple(word for word in old_words if word not in set(words))
        new |= {column.name: added} if added else {}
        gone |= {column.name: lost} if lost else {}
    return Changes(new_columns, new, gone)
