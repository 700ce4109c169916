"""Which column of the table each input of the network was made from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sightline.contracts import Spec
from sightline.prepare.encode import Encoder


class InputColumns(NamedTuple):
    """The table's column behind each input of the network.

    One column becomes several inputs: a number and its missing flag, the parts of a date, the n-grams
    of a text.

    Attributes:
        names: The feature columns, G of them.
        numeric: int64 [D], for each numeric input the index of its column in `names`.
        categorical: int64 [C], the same for each category code.
    """

    names: list[str]
    numeric: Tensor
    categorical: Tensor


def input_columns(encoder: Encoder, spec: Spec) -> InputColumns:
    """Return which column of the table each input of the network was made from.

    Args:
        encoder: The fitted encoder, which knows the feature columns.
        spec: The network's inputs.

    Example:
        >>> import sightline as sl
        >>> from sightline.prepare.inputs import input_columns
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> columns = input_columns(prepared.encoder, prepared.spec)
        >>> [columns.names[index] for index in columns.categorical]
        ['island', 'sex']
    """
    names = [encoding.column for encoding in encoder.encodings]
    index = {name: number for number, name in enumerate(names)}
    return InputColumns(
        names,
        torch.tensor([index[feature.column] for feature in spec.numeric], dtype=torch.long),
        torch.tensor([index[feature.column] for feature in spec.categorical], dtype=torch.long),
    )
