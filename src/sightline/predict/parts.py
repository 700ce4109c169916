"""The parts of a model, such as networks, boosted trees and a forest, and the registry that lists them.

Each part predicts alone. The blend (`calibration.py`) weights the parts' predictions. Adding a part
takes an entry in `PARTS` below, which says how it predicts and how the bundle keeps it, and an entry of
the same name in `pipeline/parts.py`, which says how a fit makes it.

Letters: B rows, D numbers, C codes, K outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from sightline.build.ensemble import Ensemble
from sightline.build.forest import Forest
from sightline.build.kernel import Kernel
from sightline.build.neighbors import Neighbors
from sightline.build.networks import BUILT_IN, NetworkMaker, describe_network, make_network
from sightline.build.trees import Trees
from sightline.contracts import Spec
from sightline.errors import BundleError
from sightline.export.forest import write_forest
from sightline.export.graph import Graph
from sightline.export.kernel import write_kernel
from sightline.export.neighbors import write_neighbors
from sightline.export.networks import write_network
from sightline.export.preparation import Prepared
from sightline.export.trees import write_trees
from sightline.predict.task import Task


@dataclass(frozen=True)
class SavedPart:
    """A part as the bundle keeps it.

    Attributes:
        config: Plain JSON values under the part's name in the manifest.
        tensors: The part's state, by tensor name.
        files: More members of the archive, by name.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadContext:
    """What loading a part needs besides its `SavedPart`.

    Attributes:
        path: The bundle, for error messages.
        spec: The network's inputs and outputs.
        network: The code of a network of your own, which a bundle does not contain: its class, a
            function of the spec, a module, or "file.py:Class"; None for a built-in network.
    """

    path: Path
    spec: Spec
    network: nn.Module | NetworkMaker | str | None = None


class WrittenPart(NamedTuple):
    """The tensors of a part in an ONNX graph.

    Attributes:
        values: To blend, as `Part.values` returns them.
        shown: The part's own probabilities [N, K], or numbers [N, 1].
        members: The same of each member of an ensemble, [N, M, K]; or None.
    """

    values: str
    shown: str
    members: str | None = None


class Part(ABC):
    """One of the models whose predictions are blended.

    Args:
        module: What predicts; it is put into evaluation mode.

    Attributes:
        name: The part's name in `Blend.weights`, in the bundle's manifest, in `Explanation.parts` and
            in the record that its fit writes.
        member: The name of its tensors in the bundle.
    """

    name: ClassVar[str]
    member: ClassVar[str]

    def __init__(self, module: nn.Module) -> None:
        self.module = module.eval()

    @property
    @abstractmethod
    def thread_safe(self) -> bool:
        """Whether several threads may run the module at once: it keeps nothing between its layers."""

    @abstractmethod
    def values(self, task: Task, numeric_BD: Tensor, codes_BC: Tensor) -> Tensor:
        """Return the values to blend: log-probabilities [B, K], or numbers [B, 1] in the target's unit."""

    @abstractmethod
    def write(self, graph: Graph, task: Task, prepared: Prepared) -> WrittenPart:
        """Write the part as nodes of an ONNX graph, which compute what `values` does.

        Raises:
            NetworkError: PyTorch cannot export the module.
        """

    @abstractmethod
    def save(self) -> SavedPart:
        """Return what the bundle keeps of the part."""

    @classmethod
    @abstractmethod
    def load(cls, saved: SavedPart, context: LoadContext) -> Self:
        """Make the part that `save` described.

        Raises:
            BundleError: The state does not fit, or code is needed that was not given.
        """


class NetworkPart(Part):
    """The network: logits [B, K], or [B, M, K] of an ensemble, whose members' mean counts."""

    name = "network"
    member = "weights"

    @property
    def thread_safe(self) -> bool:
        """A network of your own may keep values between its layers, so one thread alone runs it."""
        return isinstance(self.module, Ensemble)

    def values(self, task: Task, numeric_BD: Tensor, codes_BC: Tensor) -> Tensor:
        """Return the log of the mean probabilities, or the mean number."""
        return blend_values(task, task.head(self.module(numeric_BD, codes_BC)))

    def write(self, graph: Graph, task: Task, prepared: Prepared) -> WrittenPart:
        """Write the network, the softmax or the scale of the target, and the mean of the members."""
        logits, of_members = write_network(graph, self.module, prepared)
        each = _write_head(graph, task, logits)
        if not of_members:
            return WrittenPart(_write_blend_values(graph, task, each), each)
        mean = graph.op("ReduceMean", each, graph.constant([1], np.int64), keepdims=0)
        return WrittenPart(_write_blend_values(graph, task, mean), mean, each)

    def save(self) -> SavedPart:
        """Return the class and its arguments; of a network of your own the source, for the record."""
        config, source = describe_network(self.module)
        files: dict[str, bytes] = {}
        if source is not None:
            config["source"] = f"sources/{config['source']}.py"
            files[config["source"]] = source
        return SavedPart(config, self.module.state_dict(), files)

    @classmethod
    def load(cls, saved: SavedPart, context: LoadContext) -> Self:
        """Build the network and give it its weights."""
        network = _build_network(saved, context)
        try:
            network.load_state_dict(dict(saved.tensors))
        except RuntimeError as error:
            raise BundleError(
                f"{context.path}'s weights do not fit {type(network).__name__}: {error}.",
                "Give the class that the model was trained with.",
            ) from error
        return cls(network)


class SecondNetworkPart(NetworkPart):
    """A second built-in network beside the first, which is never one of your own."""

    name = "second_network"
    member = "second_network"

    @classmethod
    def load(cls, saved: SavedPart, context: LoadContext) -> Self:
        """Build the network and give it its weights."""
        return super().load(saved, replace(context, network=None))

    def write(self, graph: Graph, task: Task, prepared: Prepared) -> WrittenPart:
        """Write the network; the members that a model shows are those of the first."""
        return super().write(graph, task, prepared)._replace(members=None)


class OtherPart(Part):
    """A part that is no network: it gives log-probabilities, or numbers on the scale of the training target."""

    module: Trees | Forest | Kernel | Neighbors

    @property
    def thread_safe(self) -> bool:
        """Such parts keep nothing between two calls."""
        return True

    def values(self, task: Task, numeric_BD: Tensor, codes_BC: Tensor) -> Tensor:
        """Return what the module predicts."""
        return self.in_unit(task, self.module(numeric_BD, codes_BC))

    @staticmethod
    def in_unit(task: Task, outputs: Tensor) -> Tensor:
        """Convert the output of the module for blending: numbers to the target's unit."""
        return outputs if task.classification else task.head(outputs)

    def write(self, graph: Graph, task: Task, prepared: Prepared) -> WrittenPart:
        """Write the module, and for numbers the target's unit."""
        outputs = self.write_outputs(graph, prepared)
        if task.classification:
            return WrittenPart(outputs, graph.op("Exp", outputs))
        numbers = _write_head(graph, task, outputs)
        return WrittenPart(numbers, numbers)

    @abstractmethod
    def write_outputs(self, graph: Graph, prepared: Prepared) -> str:
        """Write what the module's `forward` returns."""

    def save(self) -> SavedPart:
        """Return the sizes of the module and its tensors."""
        return SavedPart(self.module.config(), self.module.state_dict())


class TreesPart(OtherPart):
    """Boosted trees."""

    name = "trees"
    member = "trees"
    module: Trees

    def write_outputs(self, graph: Graph, prepared: Prepared) -> str:
        """Write the trees, whose mean over the folds' ensembles counts."""
        return write_trees(graph, self.module, prepared)

    @classmethod
    def load(cls, saved: SavedPart, context: LoadContext) -> Self:
        """Make trees of the saved sizes and fill them."""
        return cls(Trees.restored(saved.config, saved.tensors, context.path))


class SymmetricTreesPart(TreesPart):
    """Boosted trees whose nodes of a level all ask the same question."""

    name = "symmetric_trees"
    member = "symmetric_trees"


class ForestPart(OtherPart):
    """A forest of extremely randomised trees."""

    name = "forest"
    member = "forest"
    module: Forest

    def write_outputs(self, graph: Graph, prepared: Prepared) -> str:
        """Write the forest, whose mean over the trees counts."""
        return write_forest(graph, self.module, prepared)

    @classmethod
    def load(cls, saved: SavedPart, context: LoadContext) -> Self:
        """Make a forest of the saved sizes, fill it, and check that it fits the columns and classes."""
        forest, spec = Forest.restored(saved.config, saved.tensors, context.path), context.spec
        columns = len(spec.numeric) + len(spec.categorical)
        if (len(forest.gain), forest.outputs) != (columns, spec.outputs):
            raise BundleError(
                f"{context.path}'s forest does not fit its columns and classes.",
                "Use another copy, or save the model again.",
            )
        return cls(forest)


class KernelPart(OtherPart):
    """A kernel model."""

    name = "kernel"
    member = "kernel"
    module: Kernel

    def write_outputs(self, graph: Graph, prepared: Prepared) -> str:
        """Write the kernel model."""
        return write_kernel(graph, self.module, prepared)

    @classmethod
    def load(cls, saved: SavedPart, context: LoadContext) -> Self:
        """Make a kernel model of the saved sizes, fill it, and check that it fits the columns and classes."""
        kernel = Kernel.restored(saved.config, saved.tensors, context.path)
        sizes = (len(kernel.center), kernel.landmark_codes.shape[1], len(kernel.intercept))
        _check_sizes(sizes, context, "kernel model")
        return cls(kernel)


class NeighborsPart(OtherPart):
    """A nearest-neighbours model."""

    name = "neighbors"
    member = "neighbors"
    module: Neighbors

    def write_outputs(self, graph: Graph, prepared: Prepared) -> str:
        """Write the nearest-neighbours model."""
        return write_neighbors(graph, self.module, prepared)

    @classmethod
    def load(cls, saved: SavedPart, context: LoadContext) -> Self:
        """Make a model of the saved sizes, fill it, and check that it fits the columns and classes."""
        made = Neighbors.restored(saved.config, saved.tensors, context.path)
        sizes = (len(made.center), len(made.starts) - 1, made.outputs)
        _check_sizes(sizes, context, "nearest-neighbours model")
        return cls(made)


def _check_sizes(sizes: tuple[int, int, int], context: LoadContext, name: str) -> None:
    """Refuse a part whose numbers, categories and outputs are not those of the file's columns and classes."""
    spec = context.spec
    if sizes != (len(spec.numeric), len(spec.categorical), spec.outputs):
        raise BundleError(
            f"{context.path}'s {name} does not fit its columns and classes.",
            "Use another copy, or save the model again.",
        )


PARTS: dict[str, type[Part]] = {
    part.name: part
    for part in (
        NetworkPart,
        SecondNetworkPart,
        TreesPart,
        SymmetricTreesPart,
        ForestPart,
        KernelPart,
        NeighborsPart,
    )
}
"""Every kind of part by name, in the order in which they are fitted, blended and shown."""


def blend_values(task: Task, values: Tensor) -> Tensor:
    """Convert the output of `Task.head`, [B, K], to the values to blend.

    Probabilities become their logarithms; a probability of 0 counts as the smallest float32. Numbers
    stay as they are.

    Example:
        >>> import torch
        >>> from sightline.contracts import Target
        >>> from sightline.predict.parts import blend_values
        >>> from sightline.predict.task import Task
        >>> task = Task(Target("y", "classification", ("no", "yes"), "yes"))
        >>> [round(log, 4) for log in blend_values(task, torch.tensor([[0.5, 0.0]]))[0].tolist()]
        [-0.6931, -87.3365]
    """
    if not task.classification:
        return values
    return values.clamp(min=torch.finfo(torch.float32).tiny).log()


def _write_head(graph: Graph, task: Task, logits: str) -> str:
    """Write `Task.member_values`: probabilities, or numbers in the target's unit as float64."""
    if task.classification:
        return graph.op("Softmax", logits, axis=-1)
    wide = graph.op("Mul", graph.cast(logits, np.float64), graph.constant(task.scale, np.float64))
    return graph.op("Add", wide, graph.constant(task.center, np.float64))


def _write_blend_values(graph: Graph, task: Task, values: str) -> str:
    """Write `blend_values`."""
    if not task.classification:
        return values
    least = graph.constant(torch.finfo(torch.float32).tiny, np.float32)
    return graph.op("Log", graph.op("Max", values, least))


def _build_network(saved: SavedPart, context: LoadContext) -> nn.Module:
    config, path = saved.config, context.path
    name = config["class"]
    if context.network is not None:
        return make_network(context.network, context.spec)
    if not config["built_in"]:
        source = (
            f"; its source, for the record, is the member {config['source']}"
            if "source" in config
            else ""
        )
        raise BundleError(
            f"{path} holds a network of your own, {name}: its code is not in the file{source}.",
            f"Load it with network={name}, or with --network file.py:{name} on the command line.",
        )
    if name not in BUILT_IN:
        raise BundleError(
            f"{path} holds a {name}, which this Sightline does not know.",
            "Install a newer Sightline (pip install --upgrade sightline).",
        )
    # First without memory: sizes that a file has made up would take all there is.
    with torch.device("meta"):
        planned = BUILT_IN[name].from_config(context.spec, config["config"]).state_dict()
    sizes = {key: tuple(tensor.shape) for key, tensor in planned.items()}
    if sizes != {key: tuple(tensor.shape) for key, tensor in saved.tensors.items()}:
        raise BundleError(
            f"{path}'s weights do not fit {name}: their sizes are not those of its settings.",
            "Use another copy, or save the model again.",
        )
    return BUILT_IN[name].from_config(context.spec, config["config"])
