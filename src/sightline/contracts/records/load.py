"""Bodies of the records of stage 1, load."""

from typing import Annotated, Literal, NotRequired, TypedDict

from sightline.contracts.kinds import Kind
from sightline.contracts.schema import Role


class Histogram(TypedDict):
    """How values are distributed; equal values all lie in the first bin."""

    kind: Annotated[
        Literal["bins", "lengths", "names"],
        "bins of numbers or dates, bins of texts' lengths in characters, or the most frequent categories",
    ]
    counts: Annotated[list[int], "rows in each of 20 bins of equal width, or of each category"]
    low: NotRequired[Annotated[str, "smallest value, formatted; of bins"]]
    high: NotRequired[Annotated[str, "largest value, formatted; of bins"]]
    sampled: NotRequired[Annotated[int, "rows that were put into bins, if not all were"]]
    names: NotRequired[Annotated[list[str], "up to 10 categories, each cut to 60 characters"]]
    rest: NotRequired[Annotated[int, "rows with any other category"]]


class ColumnBody(TypedDict):
    """One column of the table."""

    name: Annotated[str, "name of the column"]
    kind: Annotated[Kind, "how its values are understood"]
    role: Annotated[Role, "what it is used for"]
    reason: Annotated[str, "why it has this kind and role"]
    missing: Annotated[int, "rows without a value"]
    share_missing: Annotated[float, "the same as a share of all rows"]
    values: Annotated[str, "range or most frequent values, in words"]
    histogram: Annotated[Histogram | None, "distribution; null for a column without values"]


class LoadTable(TypedDict):
    """The table was read."""

    name: Annotated[str, "the table's name"]
    rows: Annotated[int, "rows that were read"]
    skipped: Annotated[int, "rows that could not be read"]
    dropped: Annotated[int, "rows without a target"]
    columns: Annotated[list[ColumnBody], "the columns in file order"]
    notes: Annotated[list[str], "notes about the data, one sentence each"]
    bytes: Annotated[int, "size in memory"]
    memory_limit: NotRequired[Annotated[
        int, "of a table larger than memory, bytes within which it is trained on"
    ]]  # fmt: skip
    sampled: NotRequired[
        Annotated[int, "of such a table, the rows by which the columns are described"]
    ]
    seconds: Annotated[float, "duration of reading and splitting"]


class BlockBody(TypedDict):
    """One of the folds that follow each other in time."""

    rows: Annotated[int, "training rows that it holds out"]
    first: Annotated[str, "time of its oldest row"]
    last: Annotated[
        str, "time of its newest row; with groups, later than the first of the next fold"
    ]


class LoadSplit(TypedDict):
    """The rows were split."""

    train: Annotated[int, "training rows"]
    valid: Annotated[int, "validation rows"]
    test: Annotated[int, "test rows"]
    folds: NotRequired[Annotated[
        int,
        "number of folds of the training rows, 0 for none; with folds there are no validation rows, and "
        "every validation metric below is out-of-fold",
    ]]  # fmt: skip
    blocks: NotRequired[Annotated[
        list[BlockBody], "of folds that follow each other in time, from when to when each goes, the oldest first"
    ]]  # fmt: skip
    newest: NotRequired[Annotated[
        int,
        "then the newest training rows: sets, intervals and the threshold are fitted on them alone, and they count as much "
        "as all others for the parts' weights and the temperature; 0 where they are too few, and all rows are used alike",
    ]]  # fmt: skip
    newest_from_older: NotRequired[Annotated[
        bool, "whether what predicts them has learned from older rows alone; groups and a warm start may overlap"
    ]]  # fmt: skip
    how: Annotated[str, "how the rows were chosen"]
    sentence: Annotated[str, "the whole split in one sentence"]


class LoadBatch(TypedDict):
    """How the training rows become batches."""

    batch_size: Annotated[int, "rows of a batch"]
    batches: Annotated[int, "batches of an epoch"]
    features: Annotated[int, "feature columns"]
    sentence: Annotated[str, "one batch in words"]
