"""Networks: the multilayer perceptron, the adapter for your own, and the check before training.

Any `nn.Module` with `forward(numeric[B, D], categorical[B, C]) -> logits[B, K]` (or [B, M, K]
for M members) is a network; nothing has to be inherited.
"""

from __future__ import annotations

import copy
import importlib.util
import inspect
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from sightline.build.ensemble import Ensemble
from sightline.build.parts import (
    ACTIVATIONS,
    CategoryEmbeddings,
    HiddenLayer,
    Layer,
    is_elementwise,
)
from sightline.build.surgery import replace_module
from sightline.contracts import Spec
from sightline.errors import NetworkError, OptionError, did_you_mean

NetworkMaker = Callable[[Spec], nn.Module]


class MLP(nn.Module):
    """A multilayer perceptron with embeddings for the categories.

    Args:
        spec: Of the prepared table.
        hidden: Width of each hidden layer; an empty list makes a linear model.
        activation: "relu", "gelu", "silu", ... (`sightline.build.parts.ACTIVATIONS`).
        dropout: Share of activations set to zero in training, 0 <= dropout < 1.
        residual: The numbers of the hidden layers that add to what came in, as `Deepen` inserts
            them; each is as wide as the layer before it.
        replaced: Modules put in the place of others, by name, as `Replace` does.

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
        residual: Sequence[int] = (),
        replaced: Mapping[str, str] | None = None,
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
        for number, outputs in enumerate(hidden):
            adds = number in residual
            self.hidden.append(HiddenLayer(width, outputs, activation, dropout, residual=adds))
            width = outputs
        self.output = nn.Linear(width, spec.outputs)
        self.replaced: dict[str, str] = {}
        for name, module in (replaced or {}).items():
            self.replace(name, module)

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
        layers = list(enumerate(self.hidden))
        width = self.spec.outputs
        widths: list[int] = []
        for layer in reversed([*self.hidden, self.output]):
            linear = layer.linear if isinstance(layer, HiddenLayer) else layer
            if isinstance(linear, nn.Linear):
                width = linear.out_features
            widths.insert(0, width)  # what was put in a layer's place hands on what the next takes
            if isinstance(linear, nn.Linear):
                width = linear.in_features
        return {
            "hidden": widths[:-1],
            "activation": self.activation,
            "dropout": self.dropout,
            "residual": [n for n, layer in layers if getattr(layer, "scale", None) is not None],
            "replaced": {name: self._text(name) for name in self.replaced},
        }

    def _text(self, name: str) -> str:
        module = self.get_submodule(name)  # a linear layer may have been widened since
        return str(module) if type(module) is nn.Linear else self.replaced[name]

    @classmethod
    def from_config(cls, spec: Spec, config: Mapping[str, Any]) -> Self:
        """Build the network that `config` describes, weights fresh."""
        return cls(spec, **config)

    def layers(self) -> Iterator[Layer]:
        """Name each stop of a row as a teacher would."""
        if self.embeddings is not None:
            yield Layer("Embeddings: a vector for each category", self.embeddings)
        for number, layer in enumerate(self.hidden, start=1):
            if isinstance(layer, HiddenLayer):
                name = f"Linear + {type(layer.activation).__name__}"
                name += " + what came in" if layer.scale is not None else ""
            else:
                name = type(layer).__name__
            yield Layer(f"Hidden layer {number}: {name}", layer)
        head = "softmax" if self.spec.target.task == "classification" else "scale"
        yield Layer(f"Output layer: {type(self.output).__name__} + {head}", self.output)

    # ------------------------------------------------------------- edits (build/surgery.py)

    def chain(self) -> list[tuple[str, nn.Module]]:
        """Name the layers that a row passes one after the other, the output layer last."""
        return [*((f"hidden.{n}", layer) for n, layer in enumerate(self.hidden)),
                ("output", self.output)]  # fmt: skip

    def replace(self, name: str, module: str) -> None:
        """Put another module in the place of one; see `sightline.build.surgery.replace_module`."""
        replace_module(self, name, module)
        below = f"{name}."
        self.replaced = {n: m for n, m in self.replaced.items() if not n.startswith(below)}
        self.replaced[name] = module

    def insert(self, after: str, width: int) -> None:
        """Insert a hidden layer that adds nothing yet; see `sightline.build.surgery.deepen`."""
        place = int(after.removeprefix("hidden.")) + 1
        layer = HiddenLayer(width, width, self.activation, self.dropout, residual=True)
        self.hidden.insert(place, layer)
        # The layers behind it have new numbers, and what was replaced in them new names.
        self.replaced = {
            _moved(name, place): module for name, module in self.replaced.items()
        }  # fmt: skip


def _moved(name: str, place: int) -> str:
    parts = name.split(".")
    if parts[0] == "hidden" and len(parts) > 1 and int(parts[1]) >= place:
        parts[1] = str(int(parts[1]) + 1)
    return ".".join(parts)


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

    # ------------------------------------------------------------- edits (build/surgery.py)

    def chain(self) -> list[tuple[str, nn.Module]]:
        """Name the layers that a row passes one after the other, for a `nn.Sequential`."""
        if type(self.module).forward is not nn.Sequential.forward:
            return [("module", self.module)]
        return [(f"module.{name}", layer) for name, layer in self._named()]

    def _named(self) -> list[tuple[str, nn.Module]]:
        """The layers by name; one that is there twice, such as an activation, is named twice."""
        return [(name, layer) for name, layer in self.module._modules.items() if layer is not None]

    def insert(self, after: str, width: int) -> None:
        """Insert a hidden layer that adds nothing yet, with the activation that follows `after`."""
        layers = self._named()
        place = [f"module.{name}" for name, _ in layers].index(after) + 1
        activation = "ReLU"
        while is_elementwise(layers[place][1]):
            if not isinstance(layers[place][1], nn.Dropout):
                activation = type(layers[place][1]).__name__
            place += 1
        name = next((n for n, made in ACTIVATIONS.items() if made.__name__ == activation), "relu")
        layer = HiddenLayer(width, width, name, 0.0, residual=True)
        numbered = all(name.isdigit() for name, _ in layers)
        layers.insert(place, (f"inserted_{len(layers)}", layer))
        self.module = nn.Sequential(
            OrderedDict(
                (str(n) if numbered else own, layer) for n, (own, layer) in enumerate(layers)
            )
        )


BUILT_IN: dict[str, type[MLP | Ensemble]] = {"MLP": MLP, "Ensemble": Ensemble}
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
    """Load "file.py:Class" (running the file, as an import does), or a built-in class by its name.

    Raises:
        NetworkError: The file or the class is not there, or the file raises.

    Example:
        >>> from sightline.build.networks import load_class
        >>> load_class("MLP")
        <class 'sightline.build.networks.MLP'>
    """
    if place in BUILT_IN:
        return BUILT_IN[place]
    path, _, name = place.rpartition(":")
    if not path or not name:
        raise NetworkError(
            f"The network {place!r} is not of the form file.py:Class.",
            f"Write net.py:Net, or a built-in one: {', '.join(BUILT_IN)}.",
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
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise NetworkError(
            f"{file} raised {type(error).__name__}: {error}.", "Mend the file."
        ) from error
    if not hasattr(module, name):
        names = [key for key, value in vars(module).items() if inspect.isclass(value)]
        raise NetworkError(f"{file} has no {name!r}.", did_you_mean(name, names, "classes"))
    return getattr(module, name)  # type: ignore[no-any-return]


def describe_network(network: nn.Module) -> tuple[dict[str, Any], bytes | None]:
    """Say, as JSON, how a network is built again; with its source, for one of your own.

    Example:
        >>> import sightline as sl
        >>> from sightline.build.networks import describe_network
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> described, source = describe_network(sl.MLP(prepared.spec, hidden=[8]))
        >>> described["class"], described["config"]["hidden"], source
        ('MLP', [8], None)
    """
    built_in = type(network) in BUILT_IN.values()
    described: dict[str, Any] = {"class": type(network).__name__, "built_in": built_in}
    if built_in:
        described["config"] = network.config()  # type: ignore[operator]
        return described, None
    source = source_of(network)
    if source is not None:
        described["source"] = sha256(source).hexdigest()
    return described, source


def network_maker(
    described: Mapping[str, Any],
    network: nn.Module | NetworkMaker | str | None,
    sources: Path | None,
) -> nn.Module | NetworkMaker | str:
    """Return what builds a network again that `describe_network` described.

    Args:
        described: From `describe_network`.
        network: What to use for a network of your own; a module is copied.
        sources: A folder of kept sources, by sha256, for one that was not given.

    Raises:
        NetworkError: Its source is not there, or has changed.
    """
    name = described["class"]
    if described["built_in"] and name in BUILT_IN:
        return lambda spec: BUILT_IN[name].from_config(spec, described["config"])
    if network is not None:
        return copy.deepcopy(network) if isinstance(network, nn.Module) else network
    digest = described.get("source")
    kept = None if sources is None or digest is None else sources / f"{digest}.py"
    if kept is None or not kept.is_file():
        raise NetworkError(
            f"The network is one of your own, {name}, and no kept source says how it was made.",
            f"Give it again: network={name}, or --network file.py:{name}.",
        )
    if sha256(kept.read_bytes()).hexdigest() != digest:
        raise NetworkError(
            f"{kept} has changed since it was kept.", "Restore it, or give network=."
        )
    return load_class(f"{kept}:{name}")


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
