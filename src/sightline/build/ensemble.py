"""The default network: an ensemble of small multilayer perceptrons, trained in one batched pass.

Letters: B rows, D numbers, C codes, M members, H units of a layer, K outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.build.parts import Layer, check_dropout, make_activation
from sightline.contracts import Spec
from sightline.errors import OptionError
from sightline.prepare.encode import MISSING, UNSEEN

SEGMENTS = 16
"""Pieces of one number's piecewise-linear encoding, at most."""
MOST_PIECES = 2048
"""Pieces of all numbers together, about: many numbers get fewer pieces each, so that cost is bounded."""
SMALLEST_SPAN = 1e-6
"""A piece of the encoding is at least this wide, so that nothing is divided by zero."""
GAIN = 0.7
"""Scale of the first layer's initial weights; its inputs are mostly 0 or 1."""
EVERY = slice(None)
"""All members."""
GOLDEN = (5**0.5 - 1) / 2
"""Multiples of the golden ratio spread the waves' phases evenly."""
FREQUENCY_DEVIATION = 2.0
"""Standard deviation of the waves' frequencies, in periods per unit of a scaled number."""
WAVE_UNITS = 256
"""Units of a member on waves of all columns together, at most."""
WAVE_UNITS_PER_COLUMN = 16
"""Units of a member on waves of one column, at most."""


class Pieces(nn.Module):
    """Piecewise-linear encoding of numbers.

    A number's range is cut into pieces. A piece that lies below the value is encoded as 1, one above
    it as 0, and the one that contains it as the fraction of the piece below the value (Gorishniy,
    Rubachev and Babenko 2022, "On embeddings for numerical features").

    Args:
        edges: For each number the increasing edges of its pieces; fewer than two give it no piece.
        segments: How many pieces a number has at most; surplus edges are skipped evenly.

    Shapes: float32 [B, D] -> float32 [B, pieces].

    Example:
        >>> import torch
        >>> from sightline.build.ensemble import Pieces
        >>> Pieces([(0.0, 1.0, 3.0)], segments=16)(torch.tensor([[2.0], [0.5]])).tolist()
        [[1.0, 0.5], [0.5, 0.0]]
    """

    column: Tensor
    low: Tensor
    per_unit: Tensor

    def __init__(self, edges: Sequence[Sequence[float]], segments: int) -> None:
        super().__init__()
        pieces = [
            (column, low, max(high - low, SMALLEST_SPAN))
            for column, own in enumerate(edges)
            for low, high in _pieces_of(own, segments)
        ]
        column, low, span = zip(*pieces, strict=True) if pieces else ((), (), ())
        self.register_buffer("column", torch.tensor(column, dtype=torch.int64), persistent=False)
        self.register_buffer("low", torch.tensor(low, dtype=torch.float32), persistent=False)
        self.register_buffer("per_unit", 1 / torch.tensor(span, dtype=torch.float32), persistent=False)  # fmt: skip
        self.width = len(pieces)

    def forward(self, numeric_BD: Tensor) -> Tensor:
        """Encode numbers."""
        x_BP = numeric_BD.index_select(1, self.column)
        return x_BP.sub_(self.low).mul_(self.per_unit).clamp_(0.0, 1.0)


def _pieces_of(edges: Sequence[float], segments: int) -> Iterator[tuple[float, float]]:
    """Yield the low and the high end of each piece of one number."""
    count = len(edges) - 1
    if count > segments:
        edges = [edges[round(i * count / segments)] for i in range(segments + 1)]
    yield from pairwise(edges)


class Bins(nn.Module):
    """Bin each number: the index of the bin that contains its value.

    Args:
        edges: For each number the increasing edges of its bins, from the lower to the upper end of its
            range; a value outside is put into the first or the last bin.

    Shapes: float32 [B, D] -> int32 [B, numbers with more than one bin].

    Example:
        >>> import torch
        >>> from sightline.build.ensemble import Bins
        >>> Bins([(0.0, 1.0, 2.0, 3.0), (5.0,)])(torch.tensor([[1.5, 5.0], [-9.0, 5.0]])).tolist()
        [[1], [0]]
    """

    cuts: Tensor
    columns: Tensor

    def __init__(self, edges: Sequence[Sequence[float]]) -> None:
        super().__init__()
        inner = {column: own[1:-1] for column, own in enumerate(edges) if len(own) > 2}
        self.sizes = [len(cuts) + 1 for cuts in inner.values()]
        most = max(self.sizes, default=1) - 1
        cuts = torch.full((len(inner), most), math.inf)
        for row, own in enumerate(inner.values()):
            cuts[row, : len(own)] = torch.tensor(own, dtype=torch.float32)
        self.register_buffer("cuts", cuts, persistent=False)
        self.register_buffer("columns", torch.tensor(list(inner), dtype=torch.int64), persistent=False)  # fmt: skip

    def forward(self, numeric_BD: Tensor) -> Tensor:
        """Find each number's bin."""
        x_CB = numeric_BD.index_select(1, self.columns).T.contiguous()
        return torch.searchsorted(self.cuts, x_CB, out_int32=True).T


class Waves(nn.Module):
    """Periodic embeddings of numbers: cosines, mixed by each member's own linear layer and ReLU.

    With them a network fits functions that rise and fall often. The frequencies are quantiles of half
    a normal distribution and stay fixed; in Gorishniy, Rubachev and Babenko (2022, "On embeddings for
    numerical features") they are learned. Learned frequencies would be shared by the members, and
    through them a member would learn from the rows that it holds out.

    Args:
        columns: Indices of the numbers to embed.
        members: M.
        waves: F, frequencies per number.
        units: E, units per member and number.

    Shapes: float32 [B, D] -> [M, B, columns * E].

    Example:
        >>> import torch
        >>> from sightline.build.ensemble import Waves
        >>> list(Waves([0, 2], members=4, waves=8, units=3)(torch.zeros(5, 3)).shape)
        [4, 5, 6]
    """

    columns: Tensor
    frequency: Tensor
    phase: Tensor

    def __init__(self, columns: Sequence[int], members: int, waves: int, units: int) -> None:
        super().__init__()
        shares = (torch.arange(waves, dtype=torch.float64) + 0.5) / waves
        frequency = 2 * math.pi * FREQUENCY_DEVIATION * torch.special.ndtri(0.5 + shares / 2)
        phase = 2 * math.pi * (torch.arange(waves, dtype=torch.float64) * GOLDEN % 1)
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64), persistent=False)
        self.register_buffer("frequency", frequency.float(), persistent=False)
        self.register_buffer("phase", phase.float(), persistent=False)
        self.members, self.units = members, units
        bound = 1 / math.sqrt(waves)
        C, U = len(columns), members * units
        self.weight = nn.Parameter(torch.empty(C, waves, U).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(C, 1, U).uniform_(-bound, bound))

    def forward(self, numeric_BD: Tensor, members: slice = EVERY) -> Tensor:
        """Compute the units of each of some members."""
        x_CB1 = numeric_BD.index_select(1, self.columns).T[:, :, None]
        waves_CBF = torch.cos(x_CB1 * self.frequency + self.phase)
        weight, bias = (
            _of_members(x, self.members, self.units, members) for x in (self.weight, self.bias)
        )
        units_CBU = torch.baddbmm(bias, waves_CBF, weight).relu_()
        some = len(range(self.members)[members])
        units_CBME = units_CBU.view(len(self.columns), len(numeric_BD), some, self.units)
        units_MBE: Tensor = units_CBME.permute(2, 1, 0, 3).flatten(2)
        return units_MBE


class Ensemble(nn.Module):
    """M multilayer perceptrons, each with its own weights, computed in one batched pass.

    All members get the same inputs: each number, (with `pieces`) its piecewise-linear encoding, each
    category, and (with `bins`) each value of a discrete number as one more category, so that a member
    can treat a value differently from its neighbours, as trees do. The first layer adds up a learned
    vector for each category and each such value. With `waves` each member also gets periodic embeddings
    of the other numbers. With none of the three a member sees numbers as they are, and learns functions
    that change smoothly with them.

    Args:
        spec: Of the prepared table.
        members: M, the number of perceptrons.
        hidden: Width of each hidden layer of a member in units; one width or more.
        activation: "relu", "gelu", "silu", ... (`sightline.build.parts.ACTIVATIONS`).
        dropout: Probability with which a hidden unit is set to zero in training, 0 <= dropout < 1.
        bins: Whether discrete numbers are embedded as categories as well.
        pieces: Whether each number is also encoded piece by piece (`Pieces`).
        waves: Frequencies of the periodic embedding of each number without bins; 0 for none.

    Shapes: float32 [B, D] and int32 [B, C] -> logits [B, M, K]; with `members`, a slice, those of some members.

    Raises:
        OptionError: A number of members, width, activation, dropout or number of waves that is out of
            range.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> network = sl.Ensemble(prepared.spec, members=4, hidden=[16])
        >>> list(network(prepared.train.numeric, prepared.train.categorical).shape)
        [276, 4, 3]
    """

    starts: Tensor

    def __init__(
        self,
        spec: Spec,
        members: int = 10,
        hidden: Sequence[int] = (64, 64),
        activation: str = "relu",
        dropout: float = 0.1,
        bins: bool = True,
        waves: int = 0,
        pieces: bool = True,
    ) -> None:
        super().__init__()
        widths = [hidden] if isinstance(hidden, int) else list(hidden)
        _check_options(members, widths, dropout, waves)
        self.spec = spec
        self.members = members
        self.widths = widths
        self.activation_name = activation
        self.dropout = dropout
        self.frequencies = waves
        edges = [feature.edges for feature in spec.numeric]
        numbers = max(sum(len(own) > 1 for own in edges), 1)
        segments = max(min(SEGMENTS, MOST_PIECES // numbers), 1)
        self.pieces = Pieces(edges if pieces else [], segments)
        self.cut = pieces
        binned = [bins and feature.discrete for feature in spec.numeric]
        self.bins = None
        if bins:
            self.bins = Bins([own if yes else () for own, yes in zip(edges, binned, strict=True)])
        sizes = [*spec.cardinalities, *(self.bins.sizes if self.bins else ())]
        starts = [sum(sizes[:column]) for column in range(len(sizes))]
        self.register_buffer("starts", torch.tensor(starts, dtype=torch.int32), persistent=False)
        M, H, K = members, widths[0], spec.outputs
        inputs = len(spec.numeric) + self.pieces.width
        # About how many inputs of a row are not zero: its numbers, their pieces' sum, its codes.
        active = (2 if pieces else 1) * len(spec.numeric) + len(sizes)
        self.numbers = Features(inputs, sizes, M * H, active)
        waving = [column for column, own in enumerate(edges) if len(own) > 1 and not binned[column]]
        units = min(WAVE_UNITS // max(len(waving), 1), WAVE_UNITS_PER_COLUMN)
        self.waves = self.mixed = None
        if waves and waving and units > 1:
            self.waves = Waves(waving, M, waves, units)
            self.mixed = Members(M, len(waving) * units, H, GAIN / math.sqrt(active + len(waving)))
        self.activation = make_activation(activation)
        self.hidden = nn.ModuleList(Members(M, ins, outs) for ins, outs in pairwise(widths))
        self.output = Members(M, widths[-1], K)
        with torch.no_grad():
            self.output.bias.zero_()
            # "Missing" and "unseen" start at zero: without training rows they stay there.
            untrained = [
                s + code for s in starts[: len(spec.cardinalities)] for code in (MISSING, UNSEEN)
            ]
            if self.numbers.vectors is not None:
                self.numbers.vectors[untrained] = 0.0

    def forward(self, numeric_BD: Tensor, categorical_BC: Tensor, members: slice = EVERY) -> Tensor:
        """Map features to the logits of each member, or of some."""
        x_BI = torch.cat([numeric_BD, self.pieces(numeric_BD)], dim=1)
        codes_BC = categorical_BC
        if self.bins is not None:
            codes_BC = torch.cat([categorical_BC, self.bins(numeric_BD)], dim=1)
        x_BMH: Tensor = self.numbers(x_BI, codes_BC + self.starts, self.members, members)
        some = len(range(self.members)[members])
        x_MBH = x_BMH.view(len(numeric_BD), some, self.widths[0]).transpose(0, 1)
        if self.waves is not None and self.mixed is not None:
            x_MBH = x_MBH + self.mixed(self.waves(numeric_BD, members), members)
        x_MBH = self._drop(self.activation(x_MBH))
        for layer in self.hidden:
            x_MBH = self._drop(self.activation(layer(x_MBH, members)))
        logits_BMK: Tensor = self.output(x_MBH, members).transpose(0, 1)
        return logits_BMK

    def _drop(self, x_MBH: Tensor) -> Tensor:
        """Apply dropout in training: the same units of all members, which is ten times faster."""
        if not self.training or not self.dropout:
            return x_MBH
        kept_BH = torch.empty_like(x_MBH[0]).bernoulli_(1 - self.dropout).div_(1 - self.dropout)
        return x_MBH * kept_BH

    def config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this network."""
        return {
            "members": self.members, "hidden": list(self.widths), "activation": self.activation_name,
            "dropout": self.dropout, "bins": self.bins is not None, "waves": self.frequencies,
            "pieces": self.cut,
        }  # fmt: skip

    @classmethod
    def from_config(cls, spec: Spec, config: Mapping[str, Any]) -> Self:
        """Build the network that `config` describes, with fresh weights."""
        return cls(spec, **config)

    def extended(self, spec: Spec) -> Self:
        """Return the same network for a spec with more categories; it predicts the same.

        A new category starts with the vector of an unseen one, which is what it was.

        Args:
            spec: Like the network's own, but its categorical features may have more codes, after those that there are.

        Example:
            >>> import sightline as sl
            >>> from dataclasses import replace
            >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
            >>> feature, *others = prepared.spec.categorical
            >>> feature = replace(feature, cardinality=feature.cardinality + 2)
            >>> network = sl.Ensemble(prepared.spec, members=4)
            >>> more = network.extended(replace(prepared.spec, categorical=(feature, *others)))
            >>> more.numbers.vectors.shape[0] - network.numbers.vectors.shape[0]
            2
        """
        network = self.from_config(spec, self.config())
        weights = self.state_dict()
        if self.numbers.vectors is not None:
            before, now = self.spec.cardinalities, spec.cardinalities
            parts, start = [], 0
            for old, new in zip(before, now, strict=True):
                vectors = self.numbers.vectors[start : start + old]
                parts += [vectors, vectors[UNSEEN].expand(new - old, -1)]
                start += old
            parts.append(self.numbers.vectors[start:])  # the bins
            weights["numbers.vectors"] = torch.cat(parts).detach()
        network.load_state_dict(weights)
        return network

    def layers(self) -> Iterator[Layer]:
        """Name the modules that a row passes, for explanations."""
        name = type(self.activation).__name__
        if self.pieces.width:
            yield Layer("Piecewise-linear encoding of the numbers", self.pieces)
        if self.bins is not None and self.bins.sizes:
            yield Layer("Bins of the discrete numbers", self.bins)
        first = f"Hidden layer 1 of {self.members} members, before {name}"
        if self.waves is None or self.mixed is None:
            yield Layer(first, self.numbers)
        else:
            yield Layer(f"{first}: sum over the features", self.numbers)
            yield Layer(f"Periodic embeddings of numbers for {self.members} members", self.waves)
            yield Layer(f"{first}: sum over the periodic embeddings", self.mixed)
        for number, layer in enumerate(self.hidden, start=2):
            yield Layer(f"Hidden layer {number} of {self.members} members, before {name}", layer)
        head = "softmax" if self.spec.target.task == "classification" else "scale"
        yield Layer(
            f"Output layer of {self.members} members + {head}, then their mean", self.output
        )


def _check_options(
    members: object, widths: Sequence[object], dropout: float, waves: object
) -> None:
    """Refuse options of an `Ensemble` that are out of range."""
    for count in (members, *widths):
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise OptionError(
                f"members is {members!r} and hidden is {widths}.",
                "Give whole numbers from 1, such as members=10, hidden=[64, 64].",
            )
    if not widths:
        raise OptionError("hidden is empty.", "Give one width or more, such as [64, 64].")
    check_dropout(dropout)
    if isinstance(waves, bool) or not isinstance(waves, int) or waves < 0:
        raise OptionError(f"waves is {waves!r}.", "Give a whole number from 1, or 0 for none.")


class Features(nn.Module):
    """The first layer: numbers times weights, plus a learned vector for each code.

    Args:
        inputs: I, the number of numeric inputs.
        sizes: How many codes each categorical input has, [C].
        outputs: O.
        active: About how many inputs of a row are not zero; it sets the deviation of the weights.

    Shapes: float32 [B, I] and int32 [B, C] -> [B, O]. The codes of a column start where those of the
    column before it end.
    """

    def __init__(self, inputs: int, sizes: Sequence[int], outputs: int, active: int) -> None:
        super().__init__()
        spread = GAIN / math.sqrt(max(active, 1))
        self.weight = nn.Parameter(torch.empty(inputs, outputs).normal_(0.0, spread))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-spread, spread))
        self.vectors = None
        if sum(sizes):
            self.vectors = nn.Parameter(torch.empty(sum(sizes), outputs).normal_(0.0, spread))

    def forward(self, x_BI: Tensor, codes_BC: Tensor, count: int = 1, members: slice = EVERY) -> Tensor:  # fmt: skip
        """Map features to the first layer's sums; with `members` to those of some of `count` members."""
        units = len(self.bias) // count
        weight, bias = (_of_members(x, count, units, members) for x in (self.weight, self.bias))
        x_BO = torch.addmm(bias, x_BI, weight)
        if self.vectors is not None:
            vectors = _of_members(self.vectors, count, units, members)
            x_BO = x_BO + F.embedding_bag(codes_BC, vectors, mode="sum")
        return x_BO


def _of_members(weights: Tensor, count: int, units: int, members: slice) -> Tensor:
    """Return the columns of some members, whose units lie side by side in the last dimension."""
    if members == EVERY:
        return weights
    return weights.view(*weights.shape[:-1], count, units)[..., members, :].flatten(-2)


class Members(nn.Module):
    """One linear layer per member.

    Args:
        members, inputs, outputs: M, and the size of each member's layer.
        bound: Initial weights are uniform in [-bound, bound]; None is 1 / sqrt(inputs).

    Shapes: [M, B, inputs] -> [M, B, outputs].

    Example:
        >>> import torch
        >>> from sightline.build.ensemble import Members
        >>> list(Members(4, 8, 3)(torch.zeros(4, 5, 8)).shape)
        [4, 5, 3]
    """

    def __init__(self, members: int, inputs: int, outputs: int, bound: float | None = None) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs) if bound is None else bound
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs).uniform_(-bound, bound))

    def forward(self, x_MBI: Tensor, members: slice = EVERY) -> Tensor:
        """Map the units of each member, or of some, to those of its next layer."""
        return torch.baddbmm(self.bias[members], x_MBI, self.weight[members])
