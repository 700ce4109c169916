"""Numbers in standard deviations from their mean."""

import numpy as np
import torch

from sightline.build.standard import FARTHEST, LEAST_SCALE, scales_of, standardised


def test_they_are_those_of_numpy():
    x = np.random.default_rng(0).normal(3, 2, size=(200, 2)).astype(np.float32)
    center, scale = scales_of(torch.from_numpy(x))
    np.testing.assert_allclose(center, x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scale, x.std(axis=0), rtol=1e-5)
    z = standardised(torch.from_numpy(x), center, scale)
    assert z.dtype == torch.float64
    np.testing.assert_allclose(z, (x - x.mean(axis=0)) / x.std(axis=0), atol=1e-4)


def test_what_hardly_varies_and_what_is_far_away_is_bounded():
    center, scale = scales_of(torch.full((10, 1), 7.0))
    assert float(scale) == LEAST_SCALE
    assert float(standardised(torch.tensor([[1e9]]), center, scale)) == FARTHEST


def test_no_rows_change_nothing():
    center, scale = scales_of(torch.ones(0, 3))
    assert center.tolist() == [0, 0, 0]
    assert scale.tolist() == [1, 1, 1]
