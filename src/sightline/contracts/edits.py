"""Edits: changes to a training while it runs, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Edit:
    """A change to a training while it runs, as data: applied between two steps, recorded, replayed.

    Example:
        >>> import sightline as sl
        >>> sl.Widen("hidden.0", 128).to_json()
        {'edit': 'Widen', 'name': 'hidden.0', 'width': 128}
    """

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `edit_from_json` reads them back."""
        return {"edit": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class SetLearningRate(Edit):
    """Set the current learning rate; the rest of the schedule is rescaled with it.

    Example:
        >>> from sightline.contracts import SetLearningRate
        >>> SetLearningRate(3e-4).to_json()
        {'edit': 'SetLearningRate', 'value': 0.0003}
    """

    value: float


@dataclass(frozen=True)
class SetWeightDecay(Edit):
    """Set the weight decay of all parameters but biases and norms.

    Example:
        >>> from sightline.contracts import SetWeightDecay
        >>> SetWeightDecay(0.1).value
        0.1
    """

    value: float


@dataclass(frozen=True)
class SetBatchSize(Edit):
    """Set the batch size: the number of rows of a weight update.

    Example:
        >>> from sightline.contracts import SetBatchSize
        >>> SetBatchSize(64).value
        64
    """

    value: int


@dataclass(frozen=True)
class SetMicroBatch(Edit):
    """Set how many rows go through the network at once; the batch size stays.

    Gradients of the parts of a batch are summed, so that less memory is needed.

    Example:
        >>> from sightline.contracts import SetMicroBatch
        >>> SetMicroBatch(16).value
        16
    """

    value: int


@dataclass(frozen=True)
class SetEpochs(Edit):
    """Set the last epoch; the rest of the learning-rate schedule is stretched to it.

    Example:
        >>> from sightline.contracts import SetEpochs
        >>> SetEpochs(200).value
        200
    """

    value: int


@dataclass(frozen=True)
class Freeze(Edit):
    """Freeze parameters: one, or all below a name such as "hidden.0" or "embeddings".

    They have no gradient, and no step changes them.

    Example:
        >>> import sightline as sl
        >>> sl.Freeze("embeddings").to_json()
        {'edit': 'Freeze', 'name': 'embeddings'}
    """

    name: str


@dataclass(frozen=True)
class Unfreeze(Edit):
    """Unfreeze parameters, so that they learn again: one, or all below a name.

    Example:
        >>> import sightline as sl
        >>> sl.Unfreeze("embeddings").name
        'embeddings'
    """

    name: str


@dataclass(frozen=True)
class Widen(Edit):
    """Give a hidden layer more units; the network's outputs do not change.

    The new units have fresh incoming weights and outgoing weights of zero (after Net2Net, Chen,
    Goodfellow and Shlens 2016, with zeros in place of copies).

    Example:
        >>> import sightline as sl
        >>> sl.Widen("hidden.0", 128).width
        128
    """

    name: str
    width: int


@dataclass(frozen=True)
class Deepen(Edit):
    """Insert a hidden layer; the network's outputs do not change.

    The new layer is x + s * f(x) with s starting at zero (ReZero, Bachlechner et al. 2020).

    Example:
        >>> import sightline as sl
        >>> sl.Deepen(after="hidden.0").to_json()
        {'edit': 'Deepen', 'after': 'hidden.0'}
    """

    after: str


@dataclass(frozen=True)
class Replace(Edit):
    """Replace a module by another one.

    `module` is a PyTorch layer as text, such as "GELU()" or "Linear(64, 3)"; a layer itself is
    converted to its text. Weights that match by name carry over.

    Example:
        >>> import sightline as sl, torch
        >>> sl.Replace("hidden.0.activation", torch.nn.Tanh()).module
        'Tanh()'
    """

    name: str
    module: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "module", str(self.module))


@dataclass(frozen=True)
class Reload(Edit):
    """Rebuild the network from "file.py:Class"; weights that match by name carry over.

    `sha256` is that of the file's text, which is kept as RUN/sources/SHA256.py.

    Example:
        >>> from sightline.contracts import Reload
        >>> Reload("net.py:Net", "0" * 64).network
        'net.py:Net'
    """

    network: str
    sha256: str


@dataclass(frozen=True)
class Stop(Edit):
    """End the training now; the current epoch is recorded as far as it got.

    Example:
        >>> from sightline.contracts import Stop
        >>> Stop().why
        'stopped by an edit'
    """

    why: str = "stopped by an edit"


EDITS: dict[str, type[Edit]] = {kind.__name__: kind for kind in Edit.__subclasses__()}


def edit_from_json(data: Mapping[str, Any]) -> Edit:
    """Read what `Edit.to_json` wrote.

    Raises:
        ValueError: There is no such edit, or its fields do not fit.

    Example:
        >>> from sightline.contracts import edit_from_json
        >>> edit_from_json({"edit": "Freeze", "name": "embeddings"})
        Freeze(name='embeddings')
    """
    values = dict(data)
    kind = values.pop("edit", None)
    if kind not in EDITS:
        raise ValueError(f"There is no edit {kind!r}; the edits are {', '.join(EDITS)}")
    names = [field.name for field in fields(EDITS[kind])]
    missing = [field.name for field in fields(EDITS[kind])
               if field.name not in values and field.default is MISSING]  # fmt: skip
    unknown = [name for name in values if name not in names]
    if missing or unknown:
        wrong = [f"{name} is missing" for name in missing] + [
            f"{name!r} is unknown" for name in unknown
        ]
        raise ValueError(f"{kind} has the fields {', '.join(names)}: {', '.join(wrong)}")
    return EDITS[kind](**values)
