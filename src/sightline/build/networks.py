"""Networks: the multilayer perceptron, the adapter for your own, and the check before training.

Any `nn.Module` with `forward(numeric[B, D], categorical[B, C]) -> logits[B, K]` (or [B, M, K]
for M members) is a network; nothing has to be inherited.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from sightline.build.parts import CategoryEmbeddings, Layer, make_activation
from sightline.contracts import Spec
from sightline.errors import NetworkError, OptionError, did_you_mean

NetworkMaker = Callable[[Spec], nn.Module]


class HiddenLayer(nn.Module):
    """Linear, activation, dropout."""

    def __init__(self, inputs: int, outputs: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.activation = make_activation(activation)
        self.dropout = nn.Dropout(dropout) if dropout else None

    def forward(self, x_BI: Tensor) -> Tensor:
        """Map [B, inputs] to [B, outputs]."""
        x_BO: Tensor = self.activation(self.linear(x_BI))
        return x_BO if self.dropout is None else self.dropout(x_BO)


class MLP(nn.Module):
    """A multilayer perceptron with embeddings for the categories.

    Args:
        spec: Of the prepared table.
        hidden: Width of each hidden layer; an empty list makes a linear model.
        activation: "relu", "gelu", "silu", ... (`sightline.build.parts.ACTIVATIONS`).
        dropout: Share of activations set to zero in training, 0 <= dropout < 1.

    Shapes: float32 [B, D] and int32 [B, C] -> logits [B, K].

    Raises:
        OptionError: A width, activation or dropout that makes no sense.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> network = sl.MLP(prepared.spec, hidden=[32, 16])
        >>> list(network(prepared.train.numeric, prepared.train.categorical).shape)
        [276, 3]
    """

    def __init__(
        self,
        spec: Spec,
        hidden: Sequence[int] = (64,),
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        hidden = [hidden] if isinstance(hidden, int) else list(hidden)
        for width in hidden:
            if isinstance(width, bool) or not isinstance(width, int) or width < 1:
                raise OptionError(f"hidden is {hidden}.", "Give a list of widths such as [64, 32].")
        if not 0 <= dropout < 1:
            raise OptionError(f"dropout is {dropout}.", "Give a share from 0 up to, not with, 1.")
        self.spec = spec
        self.activation = activation
        self.dropout = dropout
        self.embeddings = CategoryEmbeddings(spec.cardinalities) if spec.categorical else None
        width = len(spec.numeric) + (self.embeddings.width if self.embeddings else 0)
        self.hidden = nn.ModuleList()
        for outputs in hidden:
            self.hidden.append(HiddenLayer(width, outputs, activation, dropout))
            width = outputs
        self.output = nn.Linear(width, spec.outputs)

    def forward(self, numeric_BD: Tensor, categorical_BC: Tensor) -> Tensor:
        """Map features to logits."""
        x = numeric_BD
        if self.embeddings is not None:
            x = torch.cat([numeric_BD, self.embeddings(categorical_BC)], dim=1)
        for layer in self.hidden:
            x = layer(x)
        logits_BK: Tensor = self.output(x)
        return logits_BK

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this network again, read off its layers."""
        return {
            "hidden": [layer.linear.out_features for layer in self._layers()],
            "activation": self.activation,
            "dropout": self.dropout,
        }

    @classmethod
    def from_config(cls, spec: Spec, config: Mapping[str, Any]) -> Self:
        """Build the network that `config` describes, weights fresh."""
        return cls(spec, config["hidden"], config["activation"], config["dropout"])

    def layers(self) -> Iterator[Layer]:
        """Name each stop of a row as a teacher would."""
        if self.embeddings is not None:
            yield Layer("Embeddings: a vector for each category", self.embeddings)
        for number, layer in enumerate(self._layers(), start=1):
            name = type(layer.activation).__name__
            yield Layer(f"Hidden layer {number}: Linear + {name}", layer)
        head = "softmax" if self.spec.target.task == "classification" else "scale"
        yield Layer(f"Output layer: Linear + {head}", self.output)

    def _layers(self) -> list[HiddenLayer]:
        return [layer for layer in self.hidden if isinstance(layer, HiddenLayer)]


class Flat(nn.Module):
    """Adapt a module that takes one tensor: numbers, then each category one-hot.

    Args:
        spec: Of the prepared table; `spec.flat_width` is the width the module must take.
        module: Takes float32 [B, spec.flat_width], gives logits [B, K] or [B, M, K].

    Example:
        >>> import sightline as sl
        >>> from torch import nn
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> spec = prepared.spec
        >>> network = sl.Flat(spec, nn.Linear(spec.flat_width, spec.outputs))
        >>> list(network(prepared.train.numeric, prepared.train.categorical).shape)
        [276, 3]
    """

    starts: Tensor

    def __init__(self, spec: Spec, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        sizes = spec.cardinalities
        self.width = sum(sizes)
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        self.register_buffer("starts", torch.tensor(starts, dtype=torch.int64), persistent=False)

    def forward(self, numeric_BD: Tensor, categorical_BC: Tensor) -> Tensor:
        """Map features to logits."""
        x = numeric_BD
        if self.width:
            hot = torch.zeros(len(numeric_BD), self.width, device=numeric_BD.device)
            hot.scatter_(1, categorical_BC.long() + self.starts, 1.0)
            x = torch.cat([numeric_BD, hot], dim=1)
        logits: Tensor = self.module(x)
        return logits


BUILT_IN: dict[str, type[MLP]] = {"MLP": MLP}
"""Networks that a bundle can build again by name alone."""


def check_network(network: nn.Module, spec: Spec) -> None:
    """Refuse a network whose output does not fit, before any training.

    Raises:
        NetworkError: It is no `nn.Module`, has nothing to learn, raises, or gives another shape
            than [B, K] or [B, M, K]; names both shapes.

    Example:
        >>> import sightline as sl
        >>> from sightline.build.networks import check_network
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> check_network(sl.MLP(prepared.spec), prepared.spec)
    """
    name = type(network).__name__
    if not isinstance(network, nn.Module):
        raise NetworkError(
            f"The network is a {name}, not an nn.Module.",
            "Give a torch.nn.Module with forward(numeric, categorical) -> logits.",
        )
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise NetworkError(f"{name} has no parameter to learn.", "Give it layers with parameters.")
    B, D, C, K = 3, len(spec.numeric), len(spec.categorical), spec.outputs
    device = next(network.parameters()).device
    numeric = torch.zeros(B, D, device=device)
    categorical = torch.zeros(B, C, dtype=torch.int32, device=device)
    training = network.training
    network.eval()
    taken = f"numeric [B={B}, D={D}] float32 and categorical [B={B}, C={C}] int32"
    try:
        with torch.no_grad():
            logits = network(numeric, categorical)
    except Exception as error:
        raise NetworkError(
            f"{name}.forward raised {type(error).__name__} on {taken}: {error}.",
            "Give forward(numeric, categorical); a module that takes one tensor goes into "
            "sl.Flat(spec, module), which hands it [B, spec.flat_width].",
        ) from error
    finally:
        network.train(training)
    wanted = f"[{B}, {K}] (or [{B}, M, {K}] for M members)"
    what = f"{K} classes" if len(spec.target.classes) else "a regression, 1 number a row"
    if not isinstance(logits, Tensor):
        raise NetworkError(f"{name} gives a {type(logits).__name__}.", f"Return logits {wanted}.")
    if logits.dim() not in (2, 3) or logits.shape[0] != B or logits.shape[-1] != K:
        raise NetworkError(
            f"{name} gives {list(logits.shape)} on {taken}, where {wanted} is due: "
            f"{spec.target.name!r} is {what}.",
            "Let its last layer have spec.outputs outputs.",
        )
    if not logits.is_floating_point():
        raise NetworkError(f"{name} gives {logits.dtype}.", "Return floating-point logits.")


def make_network(network: nn.Module | NetworkMaker | str | None, spec: Spec) -> nn.Module:
    """Build a network from whatever names one, and check it.

    Args:
        network: A module; a class or function that takes the spec; "file.py:Class"; or None for
            the default, `MLP(spec, hidden=[64])`.
        spec: Of the prepared table.

    Raises:
        NetworkError: It cannot be built or does not fit.
    """
    if network is None:
        built: Any = MLP(spec)
    elif isinstance(network, nn.Module):
        built = network
    else:
        maker = load_class(network) if isinstance(network, str) else network
        name = getattr(maker, "__name__", repr(maker))
        try:
            built = maker(spec)
        except Exception as error:
            raise NetworkError(
                f"{name}(spec) raised {type(error).__name__}: {error}.",
                "Give a class or function that takes the spec and makes an nn.Module.",
            ) from error
    check_network(built, spec)
    return built  # type: ignore[no-any-return]


def load_class(place: str) -> NetworkMaker:
    """Load "file.py:Class" (running the file, as an import does).

    Raises:
        NetworkError: The file or the class is not there, or the file raises.
    """
    path, _, name = place.rpartition(":")
    if not path or not name:
        raise NetworkError(
            f"The network {place!r} is not of the form file.py:Class.", "Write net.py:Net."
        )
    file = Path(path)
    if not file.is_file():
        raise NetworkError(f"{file} does not exist.", "Give the path of a Python file.")
    # Two files of one name are two modules: Python finds a class's source by its module's name.
    module_name = f"sightline_network_{sha256(str(file.resolve()).encode()).hexdigest()[:16]}"
    found = importlib.util.spec_from_file_location(module_name, file)
    if found is None or found.loader is None:
        raise NetworkError(f"{file} is not a Python file.", "Give a file that ends in .py.")
    module = importlib.util.module_from_spec(found)
    sys.modules[module_name] = module  # inspect.getsource looks a class's module up here
    try:
        found.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise NetworkError(
            f"{file} raised {type(error).__name__}: {error}.", "Mend the file."
        ) from error
    if not hasattr(module, name):
        names = [key for key, value in vars(module).items() if inspect.isclass(value)]
        raise NetworkError(f"{file} has no {name!r}.", did_you_mean(name, names, "classes"))
    return getattr(module, name)  # type: ignore[no-any-return]


def source_of(network: nn.Module) -> bytes | None:
    """Return the source file of a network's class, for the record; None if Python has none."""
    try:
        file = inspect.getsourcefile(type(network))
    except (TypeError, OSError):  # built in, or typed into a shell or notebook
        return None
    if (
        file is None
        or not Path(file).is_file()
        or Path(file).is_relative_to(Path(torch.__file__).parent)
    ):
        return None
    if Path(file).is_relative_to(Path(__file__).parent.parent):
        return None
    return Path(file).read_bytes()
