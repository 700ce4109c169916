"""Bodies of the records of stage 3, build."""

from typing import Annotated, Any, NotRequired, TypedDict

from sightline.contracts.records.run import TargetBody

_OfClass = TypedDict("_OfClass", {"class": Annotated[str, "name of the network's class"]})


class LayerSize(TypedDict):
    """One layer of the network."""

    name: Annotated[str, "name and kind of the layer"]
    shape: Annotated[list[int], "shape of its output for one batch"]
    parameters: Annotated[int, "its number of parameters"]


class NumericFeatureBody(TypedDict):
    """One numeric input."""

    name: Annotated[str, "name of the feature"]
    column: Annotated[str, "column it comes from"]
    edges: Annotated[list[float], "always empty here: bin edges are left out of records"]
    discrete: NotRequired[Annotated[bool, "whether the column has few distinct values"]]


class CategoricalFeatureBody(TypedDict):
    """One categorical input."""

    name: Annotated[str, "name of the feature"]
    column: Annotated[str, "column it comes from"]
    cardinality: Annotated[int, "number of codes, missing and unseen included"]


class SpecBody(TypedDict):
    """The network's inputs and outputs."""

    numeric: Annotated[list[NumericFeatureBody], "numeric inputs"]
    categorical: Annotated[list[CategoricalFeatureBody], "categorical inputs"]
    targets: Annotated[list[TargetBody], "one target"]


class Rebuild(_OfClass):
    """How to rebuild the network."""

    built_in: Annotated[bool, "whether Sightline has this class"]
    config: NotRequired[Annotated[dict[str, Any], "its arguments; of a built-in class"]]
    source: NotRequired[Annotated[str, "sha256 of its source, kept in RUN/sources"]]
    drawn: Annotated[bool, "whether the seed is known to determine its initial weights"]


class Unit(TypedDict):
    """One unit of an untrained MLP, computed for the example row."""

    row: Annotated[int, "number of the row"]
    name: Annotated[str, "which unit"]
    terms: Annotated[list[tuple[str, float, float]], "largest products: input, weight, value"]
    others: Annotated[int, "number of the other products"]
    rest: Annotated[float, "their sum"]
    bias: Annotated[float, "bias of the unit"]
    sum: Annotated[float, "w·x + b"]
    output: Annotated[float | None, "after the activation; null for an output unit"]
    activation: Annotated[str | None, "the activation; null for an output unit"]


class BuildNetwork(_OfClass):
    """The network was built."""

    batch: Annotated[int, "rows of a batch"]
    inputs: Annotated[int, "inputs of the network: numeric and categorical features"]
    outputs: Annotated[int, "outputs for one row"]
    features: Annotated[int, "feature columns of the table"]
    parameters: Annotated[int, "number of parameters"]
    layers: Annotated[list[LayerSize], "the layers, the input first"]
    spec: Annotated[SpecBody, "inputs and outputs"]
    printed: Annotated[str, "the network as PyTorch prints it"]
    again: Annotated[Rebuild, "how to rebuild it"]
    logits_shape: Annotated[list[int], "shape of one batch's logits; [B, M, K] for an ensemble"]
    logits_dtype: Annotated[str, "their dtype"]
    weight_bytes: Annotated[int, "size of the parameters"]
    units: Annotated[list[Unit], "first hidden unit and first output of an MLP; else empty"]
    seconds: Annotated[float, "duration of the stage"]
