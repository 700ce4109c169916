"""Bodies of the records of stage 2, prepare."""

from typing import Annotated, Literal, NotRequired, TypedDict

from sightline.contracts.kinds import Kind
from sightline.contracts.schema import Scaling


class ColumnPreparation(TypedDict):
    """How one column becomes features."""

    column: Annotated[str, "name of the column"]
    kind: Annotated[Kind, "its kind"]
    way: Annotated[str, "what happens to it, in words"]
    features: Annotated[str, "the features made from it, in words; empty for none"]


class ShownNumber(TypedDict):
    """How a number of the example row becomes a feature."""

    column: Annotated[str, "the column it comes from"]
    feature: Annotated[str, "the feature it becomes"]
    value: Annotated[float | None, "the value before scaling; null if missing"]
    missing: Annotated[bool, "whether it is missing"]
    fill: Annotated[float, "value that replaces a missing one"]
    center: NotRequired[Annotated[float, "what is subtracted; not with quantile scaling"]]
    scale: NotRequired[Annotated[float, "what it is divided by; not with quantile scaling"]]
    knots: NotRequired[
        Annotated[tuple[float, float], "training quantiles around the value; quantile scaling only"]
    ]
    scores: NotRequired[
        Annotated[tuple[float, float], "normal scores of these quantiles; quantile scaling only"]
    ]
    outside: NotRequired[
        Annotated[bool, "whether it lies outside the training range; quantile scaling only"]
    ]
    result: Annotated[float, "the feature's value"]


class ShownCategory(TypedDict):
    """How a category of the example row becomes a code."""

    column: Annotated[str, "the column it comes from"]
    value: Annotated[str | None, "the category; null if missing"]
    state: Annotated[Literal["missing", "unseen", "known"], "whether the training rows have it"]
    code: Annotated[int, "its code: 0 missing, 1 unseen, 2 and more for known categories"]
    codes: Annotated[int, "number of codes of the column"]


class ShownTarget(TypedDict):
    """The example row's target, standardised."""

    value: Annotated[float, "the value in the table"]
    center: Annotated[float, "mean of the training rows"]
    scale: Annotated[float, "standard deviation of the training rows"]
    result: Annotated[float, "the standardised value"]


class ShownRow(TypedDict):
    """The example row, also used in stage 5, with the numbers needed to compute its features."""

    row: Annotated[int, "its number in the table, from 0"]
    number: Annotated[ShownNumber | None, "its first number; null without numeric features"]
    category: Annotated[ShownCategory | None, "its first category; null without categories"]
    target: Annotated[ShownTarget | None, "its target; null for classification"]


class PrepareColumns(TypedDict):
    """The columns became tensors."""

    scaling: Annotated[Scaling, "how numbers are scaled"]
    ways: Annotated[list[ColumnPreparation], "how each column becomes features"]
    notes: Annotated[list[str], "notes, such as on possible target leakage"]
    columns_in: Annotated[int, "feature columns of the table"]
    numbers: Annotated[int, "numeric features, flags not counted"]
    flags: Annotated[int, "features that say whether a value is missing"]
    codes: Annotated[int, "categorical features"]
    numeric_shape: Annotated[list[int], "shape of the training rows' numeric tensor"]
    categorical_shape: Annotated[list[int], "shape of the training rows' categorical tensor"]
    shown: Annotated[ShownRow, "how the example row is prepared"]
    seconds: Annotated[float, "duration of the stage"]
