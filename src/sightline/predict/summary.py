"""What was unusual in predicted rows, added up over all pieces of a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sightline.contracts import BadRow, Schema, traits_of
from sightline.errors import counted, listed

NAMED_COLUMNS = 10
"""With more columns, a sentence names this many and counts the rest."""
NAMED_ROWS = 1000
"""With more bad rows, this many are kept and the others are counted."""
NEWS_SHARE = 0.9
"""A column of which this share of rows is unlike training is news."""
NEWS_ROWS = 5


@dataclass
class Summary:
    """Counts of predicted rows.

    Attributes:
        rows: All of them.
        bad: How many have no prediction.
        bad_rows: The first of them, with the reason.
        missing, unseen, out_of_range: By column, the number of rows.
        extra: Columns that the model does not know, which were ignored.

    Example:
        >>> from sightline.contracts import BadRow
        >>> from sightline.predict.summary import Summary
        >>> summary = Summary()
        >>> summary.add(2, [], {"age": 1}, {}, {}, ())
        >>> summary.add(3, [BadRow(0, "column 'age': 'x' is not a number")], {"age": 1}, {}, {}, ())
        >>> summary.report()[1]
        "1 row has no prediction; the first is row 2: column 'age': 'x' is not a number."
    """

    rows: int = 0
    bad: int = 0
    bad_rows: list[BadRow] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=dict)
    unseen: dict[str, int] = field(default_factory=dict)
    out_of_range: dict[str, int] = field(default_factory=dict)
    extra: tuple[str, ...] = ()

    def add(
        self, rows: int, bad: Iterable[BadRow], missing: Mapping[str, int], unseen: Mapping[str, int],
        out_of_range: Mapping[str, int], extra: tuple[str, ...],
    ) -> None:  # fmt: skip
        """Add the counts of further rows, whose bad ones are counted from their start."""
        for row, error in bad:
            self.bad += 1
            if len(self.bad_rows) < NAMED_ROWS:
                self.bad_rows.append(BadRow(self.rows + row, error))
        for total, own in (
            (self.missing, missing), (self.unseen, unseen), (self.out_of_range, out_of_range)
        ):  # fmt: skip
            for name, count in own.items():
                total[name] = total.get(name, 0) + count
        self.rows += rows
        self.extra = tuple(dict.fromkeys((*self.extra, *extra)))

    def report(self) -> list[str]:
        """Return what was unusual in the rows, one sentence each; empty when nothing was."""
        sentences = []
        if self.extra:
            names = listed(self.extra, NAMED_COLUMNS)
            sentences.append(f"Ignored, because the model does not know them: {names}.")
        for what, counts in (
            ("missing values", self.missing),
            ("values never seen in training", self.unseen),
            ("values outside the training range", self.out_of_range),
        ):
            if counts:
                columns = [f"{name} {count:,}" for name, count in counts.items()]
                sentences.append(f"Rows with {what}: {listed(columns, NAMED_COLUMNS, 'column')}.")
        if self.bad:
            row, error = self.bad_rows[0]
            number = counted(self.bad, "row has", "rows have")
            sentences.append(f"{number} no prediction; the first is row {row:,}: {error}.")
        return sentences

    def news(self, schema: Schema) -> list[str]:
        """Return, one sentence each, the columns whose values are hardly ever as in training.

        A column is named if at least 9 in 10 rows have a value that was never seen, lies outside the training range,
        or is missing although it seldom was in training. Fewer than 5 rows show nothing.

        Args:
            schema: Of the model; made by version 1 of the reading rules, it gives no news.
        """
        rows = self.rows - self.bad
        if rows < NEWS_ROWS or schema.rules == 1:
            return []
        outside = {
            name: count
            for name, count in self.out_of_range.items()
            if traits_of(schema[name].kind).storage != "moments"  # time goes on
        }
        seldom = {name: n for name, n in self.missing.items() if schema.absent.get(name, 1) < 0.5}
        return [
            f"{count:,} of {rows:,} rows have {what} in the column {name!r}: {advice}."
            for what, counts, advice in (
                ("no value", seldom, "the model hardly knows that; check how the column is filled"),
                ("a value never seen in training", self.unseen, "check how the values are written"),
                ("a value outside the training range", outside, "check its unit and its source"),
            )
            for name, count in counts.items()
            if count >= NEWS_SHARE * rows
        ]
