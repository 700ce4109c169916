"""Networks by name, by file or as a module: built, checked before training, described, rebuilt.

Any `nn.Module` with `forward(numeric[B, D], categorical[B, C]) -> logits[B, K]` (or [B, M, K] for
M members) is a network; it need not inherit from anything here.
"""

from __future__ import annotations

import copy
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sightline.build.ensemble import Ensemble
from sightline.build.mlp import MLP
from sightline.contracts import Spec
from sightline.errors import NetworkError, did_you_mean

NetworkMaker = Callable[[Spec], nn.Module]


BUILT_IN: dict[str, type[MLP | Ensemble]] = {"MLP": MLP, "Ensemble": Ensemble}
"""Networks that a bundle can rebuild from their name and configuration."""


def check_network(network: nn.Module, spec: Spec) -> None:
    """Refuse a network whose output does not fit the target, before any training.

    Args:
        network: Run once on three rows of zeros, in evaluation mode and without gradients.
        spec: Of the prepared table.

    Raises:
        NetworkError: It is not an `nn.Module`, has no trainable parameters, raises an exception, or
            returns a shape other than [B, K] or [B, M, K]; the message has both shapes.

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
        raise NetworkError(
            f"{name} has no trainable parameters.",
            "Give it layers with parameters, or unfreeze some (requires_grad=True).",
        )
    B, D, C = 3, len(spec.numeric), len(spec.categorical)
    device = next(network.parameters()).device
    numeric = torch.zeros(B, D, device=device)
    categorical = torch.zeros(B, C, dtype=torch.int32, device=device)
    training = network.training
    network.eval()
    inputs = f"numeric [B={B}, D={D}] float32 and categorical [B={B}, C={C}] int32"
    try:
        with torch.no_grad():
            logits = network(numeric, categorical)
    except Exception as error:
        raise NetworkError(
            f"{name}.forward raised {type(error).__name__} on {inputs}: {error}.",
            "Define forward(numeric, categorical). Wrap a module that takes one tensor: "
            "sl.Flat(spec, module) calls it with [B, spec.flat_width].",
        ) from error
    finally:
        network.train(training)
    _check_logits(logits, B, spec, name, inputs)


def _check_logits(logits: object, B: int, spec: Spec, name: str, inputs: str) -> None:
    K = spec.outputs
    wanted = f"[{B}, {K}] (or [{B}, M, {K}] for M members)"
    if not isinstance(logits, Tensor):
        raise NetworkError(
            f"{name} returns a {type(logits).__name__}, not a tensor.", f"Return logits {wanted}."
        )
    if logits.dim() not in (2, 3) or logits.shape[0] != B or logits.shape[-1] != K:
        target = spec.target
        what = f"has {K} classes" if target.classes else "is a number (regression): 1 output"
        raise NetworkError(
            f"{name} returns logits of shape {list(logits.shape)} on {inputs}, instead of {wanted}: "
            f"the target {target.name!r} {what}.",
            "Give its last layer spec.outputs outputs.",
        )
    if not logits.is_floating_point():
        raise NetworkError(
            f"{name} returns logits of type {logits.dtype}.", "Return floating-point logits."
        )


def make_network(network: nn.Module | NetworkMaker | str | None, spec: Spec) -> nn.Module:
    """Build a network from a module, a class, a function or a name, and check it.

    Args:
        network: A module; a class or function that takes the spec; "file.py:Class" or the name of a
            built-in class; or None for a small `MLP(spec, hidden=[64])`.
        spec: Of the prepared table.

    Raises:
        NetworkError: It cannot be built, or its output does not fit the target.

    Example:
        >>> import sightline as sl
        >>> from sightline.build.networks import make_network
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> make_network("MLP", prepared.spec).config()["hidden"]
        [64]
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
                "Give a class or function that takes the spec and returns an nn.Module.",
            ) from error
    check_network(built, spec)
    return built  # type: ignore[no-any-return]


def load_class(name: str) -> NetworkMaker:
    """Load "file.py:Class" (the file is executed, as by an import), or a built-in class by its name.

    Raises:
        NetworkError: The file or the class does not exist, or the file raises an exception.

    Example:
        >>> from sightline.build.networks import load_class
        >>> load_class("MLP")
        <class 'sightline.build.mlp.MLP'>
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    path, _, class_name = name.rpartition(":")
    if not path or not class_name:
        raise NetworkError(
            f"The network {name!r} is not of the form file.py:Class.",
            f"Write net.py:Net, or the name of a built-in class: {', '.join(BUILT_IN)}.",
        )
    file = Path(path)
    if not file.is_file():
        raise NetworkError(f"{file} does not exist.", "Give the path of a Python file.")
    # Two files of one name are two modules: Python finds a class's source by its module's name.
    module_name = f"sightline_network_{sha256(str(file.resolve()).encode()).hexdigest()[:16]}"
    module_spec = importlib.util.spec_from_file_location(module_name, file)
    if module_spec is None or module_spec.loader is None:
        raise NetworkError(f"{file} is not a Python file.", "Give a file that ends in .py.")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_name] = module  # inspect.getsource looks a class's module up here
    try:
        module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise NetworkError(
            f"{file} raised {type(error).__name__}: {error}.", "Fix the file."
        ) from error
    if not hasattr(module, class_name):
        classes = [key for key, value in vars(module).items() if inspect.isclass(value)]
        raise NetworkError(
            f"{file} has no {class_name!r}.", did_you_mean(class_name, classes, "classes")
        )
    return getattr(module, class_name)  # type: ignore[no-any-return]


def describe_network(network: nn.Module) -> tuple[dict[str, Any], bytes | None]:
    """Describe as JSON how to rebuild a network.

    Returns:
        `class`, `built_in`, for a built-in network its `config`, for one of your own the SHA-256 of
        its `source` where Python knows it; and that source, or None.

    Example:
        >>> import sightline as sl
        >>> from sightline.build.networks import describe_network
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> description, source = describe_network(sl.MLP(prepared.spec, hidden=[8]))
        >>> description["class"], description["config"]["hidden"], source
        ('MLP', [8], None)
    """
    built_in = type(network) in BUILT_IN.values()
    description: dict[str, Any] = {"class": type(network).__name__, "built_in": built_in}
    if built_in:
        description["config"] = network.config()  # type: ignore[operator]
        return description, None
    source = source_of(network)
    if source is not None:
        description["source"] = sha256(source).hexdigest()
    return description, source


def network_maker(
    described: Mapping[str, Any],
    network: nn.Module | NetworkMaker | str | None,
    sources: Path | None,
) -> nn.Module | NetworkMaker | str:
    """Return a maker of the network that `describe_network` described.

    Args:
        described: From `describe_network`.
        network: A network of your own, given again; a module is copied. None loads its kept source.
        sources: The folder of kept sources, files named by their SHA-256.

    Raises:
        NetworkError: Its source was not kept, or has changed.
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
            f"The network {name} is one of your own, and its source file was not kept.",
            f"Give it again: network={name}, or --network file.py:{name}.",
        )
    if sha256(kept.read_bytes()).hexdigest() != digest:
        raise NetworkError(
            f"{kept} has changed since it was kept.", "Restore it, or give network=."
        )
    return load_class(f"{kept}:{name}")


def source_of(network: nn.Module) -> bytes | None:
    """Return the source file of a network's class, to keep it; None for PyTorch's and Sightline's own.

    A class that was typed into a shell or a notebook has no source file either.
    """
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
