"""The predictor: prepared tensors in, probabilities or numbers out. `model.py` adds tables above it.

Letters: B rows, D numbers, C codes, K outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from sightline.build.modes import alone, evaluating, threads_set
from sightline.build.trees import Trees, map_in_threads
from sightline.contracts import Spec
from sightline.predict.calibration import Blend
from sightline.predict.decisions import Decisions
from sightline.predict.parts import NetworkPart, Part, TreesPart
from sightline.predict.task import Task
from sightline.predict.threshold import Threshold
from sightline.prepare.encode import Encoded
from sightline.prepare.transform import Transform

ROWS_IN_CACHE = 1_024
"""Rows that go through a network at once on a CPU: the intermediate results then stay in
the cache, which is twice as fast. A GPU takes all rows at once."""


ROWS_OF_ONE_THREAD = 16
"""So few rows are predicted on one thread: several would wait for each other, for long on a busy machine."""


class Predictor(Decisions):
    """The parts of a model and how their predictions are combined.

    Args:
        spec: The network's inputs and the target.
        transform: Scales the encoded numbers.
        task: What logits mean for this target.
        parts: The network and the other parts of the model.
        blend: The weight of each part, which includes the temperature; None leaves the network
            alone and uncalibrated.
        threshold: For two classes, the probability from which a row is the positive class; None chooses
            the likelier class.

    Attributes:
        fitted_parts: The parts by name, such as "network" and "trees", in the registry's order.

    Example:
        >>> import sightline as sl
        >>> from sightline.predict.parts import NetworkPart
        >>> from sightline.predict.predictor import Predictor
        >>> from sightline.predict.task import Task
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> predictor = Predictor(
        ...     spec=prepared.spec, transform=prepared.transform, task=Task(prepared.spec.target),
        ...     parts=[NetworkPart(sl.MLP(prepared.spec))])
        >>> rows = prepared.test
        >>> predictor.outputs(rows.numeric, rows.categorical).shape
        torch.Size([34, 3])
    """

    def __init__(
        self,
        *,
        spec: Spec,
        transform: Transform,
        task: Task,
        parts: Iterable[Part],
        blend: Blend | None = None,
        threshold: Threshold | None = None,
    ) -> None:
        self.spec = spec
        self.transform = transform
        self.task = task
        self.fitted_parts = {part.name: part for part in parts}
        self.blend = blend
        self.threshold = threshold

    @property
    def network(self) -> nn.Module:
        """The network, in evaluation mode."""
        return self.fitted_parts[NetworkPart.name].module

    @network.setter
    def network(self, module: nn.Module) -> None:
        """Predict with another module, such as a compiled one, from now on."""
        self.fitted_parts[NetworkPart.name] = NetworkPart(module)

    @property
    def trees(self) -> Trees | None:
        """The boosted trees of the model, or None."""
        part = self.fitted_parts.get(TreesPart.name)
        return part.module if isinstance(part, TreesPart) else None

    @trees.setter
    def trees(self, trees: Trees | None) -> None:
        """Predict with other trees from now on, or without any."""
        self.fitted_parts.pop(TreesPart.name, None)
        if trees is not None:
            self.fitted_parts[TreesPart.name] = TreesPart(trees)

    @property
    def modules(self) -> list[nn.Module]:
        """The modules of all parts, which must be in evaluation mode while they predict."""
        return [part.module for part in self.fitted_parts.values()]

    @property
    def thread_safe(self) -> bool:
        """Whether several threads may run all parts at once."""
        return all(part.thread_safe for part in self.fitted_parts.values())

    def in_turn(self) -> AbstractContextManager[None]:
        """Return a context in which other threads wait, if a part may be run by one at a time alone."""
        return nullcontext() if self.thread_safe else alone()

    def inputs(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Turn encoded rows into the inputs of the parts: numeric [B, D] and categorical [B, C].

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
            >>> reader = run.model.encoder.open(run.model.read("examples/penguins.csv"))
            >>> [list(part.shape) for part in run.model.inputs(reader(slice(0, 4)))]
            [[4, 9], [4, 2]]
        """
        device = next(self.network.parameters()).device
        with torch.no_grad():
            features = self.transform(torch.from_numpy(encoded.numeric))
        return features.to(device), torch.from_numpy(encoded.categorical).to(device)

    def values_of(self, encoded: Encoded) -> np.ndarray:
        """Return probabilities [B, K], or numbers [B, 1], of encoded rows.

        Example:
            >>> import sightline as sl
            >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
            >>> reader = run.model.encoder.open(run.model.read("examples/penguins.csv"))
            >>> run.model.values_of(reader(slice(0, 4))).shape
            (4, 3)
        """
        if not len(encoded.numeric):
            return np.empty((0, self.spec.outputs), np.float32)
        few = len(encoded.numeric) <= ROWS_OF_ONE_THREAD
        with self.in_turn(), evaluating(*self.modules), threads_set(1) if few else nullcontext():
            numeric, codes = self.inputs(encoded)
            rows = rows_at_once(numeric)
            slices = [slice(start, start + rows) for start in range(0, len(numeric), rows)]

            def run(rows: slice) -> Tensor:
                return self.outputs(numeric[rows], codes[rows])

            threads = torch.get_num_threads() if self.thread_safe else 1
            return torch.cat(map_in_threads(run, slices, threads)).cpu().numpy()

    def outputs(self, numeric_BD: Tensor, codes_BC: Tensor) -> Tensor:
        """Return probabilities [B, K], or numbers [B, 1] in the target's unit, of prepared rows.

        Each part's log-probabilities times its weight add up to the logits, whose softmax is the
        probabilities. A number is the weighted mean of the parts' numbers. Without a blend the network
        predicts alone.
        """
        if self.blend is None:
            return self.task.head(self.network(numeric_BD, codes_BC))
        weights = self.blend.weights
        total = sum(
            weights[name] * part.values(self.task, numeric_BD, codes_BC)
            for name, part in self.fitted_parts.items()
            if weights[name]  # without a weight, it need not be computed
        )
        assert isinstance(total, Tensor)
        return total.softmax(dim=1) if self.task.classification else total

    def parts(self, numeric_BD: Tensor, codes_BC: Tensor) -> dict[str, Tensor]:
        """Return each part's own prediction of prepared rows.

        Returns:
            By part, such as "network" and "trees": log-probabilities [B, K] (an ensemble's of its
            members' mean), or numbers [B, 1] in the target's unit.
        """
        return {
            name: part.values(self.task, numeric_BD, codes_BC)
            for name, part in self.fitted_parts.items()
        }


def rows_at_once(numeric_BD: Tensor) -> int:
    """Return how many rows to put through a network at a time, on the device where they are.

    Example:
        >>> import torch
        >>> from sightline.predict.predictor import rows_at_once
        >>> rows_at_once(torch.zeros(5000, 3))
        1024
    """
    return ROWS_IN_CACHE if numeric_BD.device.type == "cpu" else max(len(numeric_BD), 1)
