"""Specs without a table, and random inputs that fit them."""

import torch

from sightline.contracts import CategoricalFeature, NumericFeature, Spec, Target


def spec_of(D=2, cardinalities=(4, 3), classes=("a", "b", "c")):
    target = Target("y", "classification", classes) if classes else Target("y", "regression")
    return Spec(
        tuple(NumericFeature(f"x{j}", f"x{j}") for j in range(D)),
        tuple(CategoricalFeature(f"c{j}", f"c{j}", n) for j, n in enumerate(cardinalities)),
        (target,),
    )


def inputs(spec, rows=5):
    codes = [torch.randint(n, (rows,)) for n in spec.cardinalities]
    return torch.randn(rows, len(spec.numeric)), (
        torch.stack(codes, dim=1).int() if codes else torch.zeros(rows, 0, dtype=torch.int32)
    )
