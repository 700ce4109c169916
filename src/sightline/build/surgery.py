"""Change a network during training: widen and deepen it without changing its output; replace modules.

`widen` and `deepen` work on a network with a `chain()`: its layers by name, in the order in which a
row passes them. Between two linear layers only elementwise modules (activations, dropout) and residual
hidden layers are allowed. A module that mixes units, such as a LayerNorm, would change its output when
units are added.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from sightline.build.parts import HiddenLayer, is_elementwise
from sightline.errors import NetworkError, OptionError, did_you_mean


@runtime_checkable
class Chain(Protocol):
    """A network that can be widened and deepened."""

    def chain(self) -> list[tuple[str, nn.Module]]:
        """Return the layers in the order in which a row passes them, by name; the output layer last."""
        ...

    def insert(self, after: str, width: int) -> None:
        """Insert a residual `HiddenLayer` of `width` units behind the layer `after`."""
        ...


def widen(network: nn.Module, name: str, width: int) -> None:
    """Add units to a hidden layer; the network's output stays the same.

    New units come last. Their incoming weights are drawn at random and their outgoing weights are zero,
    so they change nothing at first and learn from the next step on (after Net2Net, Chen et al.
    2016).

    Args:
        network: One with `chain()`, such as `sl.MLP`, or `sl.Flat` around a `nn.Sequential`.
        name: The layer, such as "hidden.0".
        width: Its new number of units, larger than the present one.

    Raises:
        OptionError: There is no such layer, or `width` is not a larger whole number.
        NetworkError: The network has no chain, or a layer in it that mixes units.

    Example:
        >>> import sightline as sl, torch
        >>> from sightline.build.surgery import widen
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> network, batch = sl.MLP(prepared.spec, hidden=[16, 8]), prepared.valid
        >>> before = network(batch.numeric, batch.categorical)
        >>> widen(network, "hidden.0", 24)
        >>> after = network(batch.numeric, batch.categorical)
        >>> network.config()["hidden"], torch.allclose(before, after, atol=1e-6)
        ([24, 8], True)
    """
    layers = _chain(network)
    index = _index(layers, name)
    linear = _linear(layers[index][1], name)
    if isinstance(width, bool) or not isinstance(width, int) or width <= linear.out_features:
        raise OptionError(
            f"{name} cannot be widened from {linear.out_features} units to {width!r}.",
            f"Give a whole number above {linear.out_features}.",
        )
    # A residual layer is as wide as the layer before it: consecutive ones grow together.
    first = index
    while isinstance(layer := layers[first][1], HiddenLayer) and layer.scale is not None:
        first = _previous(first, name)
    _grow_outputs(_linear(layers[first][1], name), width)
    for _, layer in layers[first + 1 :]:
        if isinstance(layer, HiddenLayer) and layer.scale is not None:
            _grow_inputs(layer.linear, width)
            _grow_outputs(layer.linear, width)
            layer.scale = nn.Parameter(
                _padded(layer.scale, (width,)), requires_grad=layer.scale.requires_grad
            )
        elif isinstance(layer, HiddenLayer | nn.Linear):
            _grow_inputs(_linear(layer, name), width)
            return


def deepen(network: nn.Module, after: str) -> None:
    """Insert a hidden layer that starts as the identity; the output stays the same, bit for bit.

    Args:
        network: As for `widen`.
        after: The layer behind which it is inserted, such as "hidden.0".

    Raises:
        OptionError: There is no such layer.
        NetworkError: The network has no chain, or a layer in it that mixes units.

    Example:
        >>> import sightline as sl, torch
        >>> from sightline.build.surgery import deepen
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> network, batch = sl.MLP(prepared.spec, hidden=[16], activation="gelu"), prepared.valid
        >>> before = network(batch.numeric, batch.categorical)
        >>> deepen(network, after="hidden.0")
        >>> torch.equal(network(batch.numeric, batch.categorical), before)
        True
    """
    layers = _chain(network)
    linear = _linear(layers[_index(layers, after)][1], after)
    assert isinstance(network, Chain)
    network.insert(after, linear.out_features)
    network.to(linear.weight.device)


def replace_module(network: nn.Module, name: str, text: str) -> None:
    """Replace a module of a network; weights of the same name and shape are copied to the new one.

    Args:
        network: Any.
        name: The module's path, such as "hidden.0.activation".
        text: A layer of `torch.nn` as text such as "GELU()" or "Linear(64, 3)".

    Raises:
        OptionError: There is no such module, or the text is not a layer.

    Example:
        >>> from torch import nn
        >>> from sightline.build.surgery import replace_module
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        >>> replace_module(network, "1", "LeakyReLU(0.2)")
        >>> network[1]
        LeakyReLU(negative_slope=0.2)
    """
    names = [known for known, _ in network.named_modules() if known]
    if name not in names:
        raise OptionError(
            f"The network has no module {name!r}.", did_you_mean(name, names, "modules")
        )
    old = network.get_submodule(name)
    new = make_module(text)
    old_state = dict(old.state_dict().items())
    new_state = new.state_dict()
    same = {
        key: old_state[key] for key, value in new_state.items()
        if key in old_state and old_state[key].shape == value.shape
    }  # fmt: skip
    new.load_state_dict(same, strict=False)
    device = next((p.device for p in old.parameters()), next(network.parameters()).device)
    new.to(device).train(old.training)
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, new)


def make_module(text: str) -> nn.Module:
    """Make a layer of `torch.nn` from text such as "Linear(64, 3)"; no other code is executed.

    Raises:
        OptionError: The text is not a call of a layer with numbers, strings, True, False or None.

    Example:
        >>> from sightline.build.surgery import make_module
        >>> make_module("Dropout(p=0.1)")
        Dropout(p=0.1, inplace=False)
    """
    fix = 'Write a layer of torch.nn with its arguments, such as "GELU()" or "Linear(64, 3)".'
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError("it is not a call such as GELU()")
        name = ast.unparse(call.func).removeprefix("torch.").removeprefix("nn.")
        kind = getattr(nn, name, None)
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            raise ValueError(f"torch.nn has no layer {name}")
        values = [ast.literal_eval(value) for value in call.args]
        named = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
        return kind(*values, **named)
    except Exception as error:  # a layer may refuse its arguments with any exception
        raise OptionError(f"{text!r} is not a layer: {error}.", fix) from error


def parameters_below(network: nn.Module, name: str) -> list[tuple[str, nn.Parameter]]:
    """Return the parameter of a name, or all parameters of the module of that name.

    Raises:
        OptionError: There is no such parameter or module.

    Example:
        >>> from torch import nn
        >>> from sightline.build.surgery import parameters_below
        >>> [name for name, _ in parameters_below(nn.Sequential(nn.Linear(3, 4)), "0")]
        ['0.weight', '0.bias']
    """
    named = list(network.named_parameters())
    matching = [(own, p) for own, p in named if own == name or own.startswith(f"{name}.")]
    if not matching:
        paths = [own.split(".") for own, _ in named]
        names = {".".join(path[: n + 1]) for path in paths for n in range(len(path))}
        raise OptionError(
            f"The network has no parameter {name!r}.",
            did_you_mean(name, sorted(names), "parameters and modules"),
        )
    return matching


def corner(shape: Sequence[int]) -> tuple[slice, ...]:
    """Return the index, in a tensor that has grown, of the entries it had before: new ones come last.

    Example:
        >>> from sightline.build.surgery import corner
        >>> corner((2, 3))
        (slice(0, 2, None), slice(0, 3, None))
    """
    return tuple(slice(0, size) for size in shape)


# ------------------------------------------------------------- helpers


def _chain(network: nn.Module) -> list[tuple[str, nn.Module]]:
    if not isinstance(network, Chain):
        raise NetworkError(
            f"{type(network).__name__} cannot be widened or deepened: it has no chain() and insert().",
            "Add both methods (see sightline.build.surgery.Chain), replace a module instead, or change "
            "its file while it trains with --watch.",
        )
    layers: list[tuple[str, nn.Module]] = []
    for name, layer in network.chain():
        parts = [layer]
        if isinstance(layer, HiddenLayer):
            parts = [part for part in (layer.activation, layer.dropout) if part is not None]
        for part in parts:
            if not isinstance(part, nn.Linear) and not is_elementwise(part):
                raise NetworkError(
                    f"{name} has a {type(part).__name__}, which mixes units: new units would change the "
                    "network's output.",
                    "Widen and deepen only networks of linear layers, activations and dropout.",
                )
        if isinstance(layer, HiddenLayer | nn.Linear):
            layers.append((name, layer))
    return layers


def _index(layers: list[tuple[str, nn.Module]], name: str) -> int:
    names = [own for own, _ in layers[:-1]]
    if name not in names:
        raise OptionError(
            f"The network has no hidden layer {name!r}.", did_you_mean(name, names, "hidden layers")
        )
    return names.index(name)


def _previous(index: int, name: str) -> int:
    """The index of the layer before a residual one, which must grow with it."""
    if index == 0:
        raise NetworkError(
            f"{name} has a residual connection to the features, whose number is fixed.",
            "Widen another layer.",
        )
    return index - 1


def _linear(layer: nn.Module, name: str) -> nn.Linear:
    linear = layer.linear if isinstance(layer, HiddenLayer) else layer
    if not isinstance(linear, nn.Linear):
        raise NetworkError(
            f"{name} is a {type(linear).__name__}, not a linear layer.", "Choose another layer."
        )
    return linear


def _grow_outputs(linear: nn.Linear, width: int) -> None:
    """Add units with fresh weights, drawn as for a layer of the new width."""
    fresh = nn.Linear(linear.in_features, width, bias=linear.bias is not None)
    fresh.to(linear.weight.device)
    linear.weight = _grown(linear.weight, fresh.weight)
    if linear.bias is not None:
        linear.bias = _grown(linear.bias, fresh.bias)
    linear.out_features = width


def _grow_inputs(linear: nn.Linear, width: int) -> None:
    """Add inputs with weights of zero."""
    shape = (linear.out_features, width)
    linear.weight = nn.Parameter(
        _padded(linear.weight, shape), requires_grad=linear.weight.requires_grad
    )
    linear.in_features = width


def _grown(old: Tensor, fresh: Tensor) -> nn.Parameter:
    values = fresh.detach().clone()
    values[corner(old.shape)] = old.detach()
    return nn.Parameter(values, requires_grad=old.requires_grad)


def _padded(old: Tensor, shape: tuple[int, ...]) -> Tensor:
    values = old.new_zeros(shape)
    values[corner(old.shape)] = old.detach()
    return values
