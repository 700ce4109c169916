"""The preparation of an earlier model, which a warm start keeps: its weights fit these inputs and no others."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Self

from sightline.contracts import CategoricalFeature, Schema, Spec, traits_of
from sightline.errors import DataError, listed
from sightline.load.split import Splits
from sightline.load.values import Spellings
from sightline.prepare.encode import FIRST_KNOWN, Encoder
from sightline.prepare.fit import vocabulary_of
from sightline.prepare.transform import Transform


@dataclass(frozen=True)
class Kept:
    """What a warm start keeps of the earlier model's preparation.

    Attributes:
        spec, encoder, transform: Of the model.
        center, scale: Of its target, for regression: its network predicts numbers in this unit.
        grows: Whether new categories get codes of their own, because the network can be extended; otherwise they
            stay "unseen".
    """

    spec: Spec
    encoder: Encoder
    transform: Transform
    center: float
    scale: float
    grows: bool

    def extended(self, splits: Splits) -> Self:
        """Return the preparation with the new categories of some training rows, after those that it has.

        Raises:
            DataError: A column has another kind than the model's.
        """
        schema = self.encoder.schema
        self._refuse_other_kinds(splits)
        vocabularies = dict(schema.vocabularies)
        if self.grows:
            for name in self.encoder.codes:
                words = vocabulary_of(splits.table, splits.table.schema[name], splits.train)
                known = Spellings(vocabularies[name])
                vocabularies[name] += tuple(word for word in words if known.find(word) is None)
        columns = splits.table.columns
        absent = {
            name: 1 - float(columns[name].is_valid().to_numpy()[splits.train].mean())
            for name in self.encoder.columns
        }
        encoder = Encoder(
            replace(schema, vocabularies=vocabularies, absent=absent), self.encoder.encodings
        )
        categorical = tuple(
            CategoricalFeature(feature.name, feature.column, len(vocabularies[feature.column]) + FIRST_KNOWN)
            for feature in self.spec.categorical
        )  # fmt: skip
        spec = replace(self.spec, categorical=categorical, targets=(splits.target,))
        return replace(self, spec=spec, encoder=encoder, transform=copy.deepcopy(self.transform))

    def _refuse_other_kinds(self, splits: Splits) -> None:
        now: Schema = splits.table.schema
        for encoding in self.encoder.encodings:
            name = encoding.column
            before = traits_of(self.encoder.schema[name].kind)
            if name not in now or traits_of(now[name].kind) != before:
                found = f"is {now[name].kind} here" if name in now else "is not in the table"
                raise DataError(
                    f"The column {name!r} {found}; the earlier model has it as "
                    f"{self.encoder.schema[name].kind}, and a warm start keeps its preparation.",
                    "Give the column as it was, or fit without warm_start (--warm-start).",
                )

    def notes(self, outside: dict[str, int], before: Encoder) -> list[str]:
        """Say what a kept preparation means for these training rows, one sentence each.

        Args:
            outside: Training values outside the kept ranges, by column.
            before: The encoder of the earlier model.
        """
        said = []
        grown = [
            f"{name} {len(words) - len(before.schema.vocabularies[name]):,}"
            for name, words in self.encoder.schema.vocabularies.items()
            if len(words) > len(before.schema.vocabularies[name])
        ]
        if grown:
            said.append(
                f"warm start: new categories, after those that the model knew ({listed(grown, 5)})"
            )
        if outside:
            most = sorted(outside.items(), key=lambda item: -item[1])
            named = listed([f"{name} {count:,}" for name, count in most], 5)
            said.append(
                f"warm start: the preparation is that of the earlier model, and training values lie outside its range "
                f"({named}); a fit without warm_start makes a new one"
            )
        return said
