"""A kernel model as ONNX nodes, beside `Kernel`."""

import numpy as np
import pytest

from sightline.export.kernel import write_kernel
from tests.build.grown import fitted_kernel
from tests.export.running import Written

CLOSE = {"rtol": 1e-6, "atol": 1e-6}


@pytest.mark.parametrize("kind", ["binary", "three", "number"])
@pytest.mark.parametrize(("numbers", "codes"), [(3, 2), (3, 0), (0, 2)])
@pytest.mark.parametrize("rows", [1, 300])
def test_they_answer_alike(kind, numbers, codes, rows):
    fitted, x, c, _ = fitted_kernel(kind, numbers=numbers, codes=codes)
    x, c = x[:rows], c[:rows]
    written = Written(numbers, codes)
    tensor = write_kernel(written.graph, fitted.kernel, written.prepared)
    found = written.run(tensor, np.float32, 2, x.numpy(), c.numpy())
    np.testing.assert_allclose(found, fitted.kernel(x, c).numpy(), **CLOSE)


def test_large_weights_of_opposite_signs_lose_nothing():
    fitted, x, c, _ = fitted_kernel("number", codes=0, bandwidths=[4.0], ridges=[1e-6])
    assert fitted.kernel.weights.abs().max() > 1_000
    written = Written(3)
    tensor = write_kernel(written.graph, fitted.kernel, written.prepared)
    found = written.run(tensor, np.float32, 2, x.numpy())
    np.testing.assert_allclose(found, fitted.kernel(x, c).numpy(), **CLOSE)


def test_values_far_away_and_codes_beyond_those_that_are_told_apart():
    fitted, x, c, _ = fitted_kernel("three")
    x, c = x * 1e6, c + 300
    written = Written(3, 2)
    tensor = write_kernel(written.graph, fitted.kernel, written.prepared)
    found = written.run(tensor, np.float32, 2, x.numpy(), c.numpy())
    np.testing.assert_allclose(found, fitted.kernel(x, c).numpy(), **CLOSE)
