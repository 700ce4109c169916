"""A nearest-neighbours model as ONNX nodes, beside `Neighbors`."""

import numpy as np
import pytest
import torch

from sightline.build.neighbors_fit import fit_neighbors
from sightline.export.neighbors import write_neighbors
from tests.build.grown import fitted_neighbors
from tests.export.running import Written

CLOSE = {"rtol": 2e-6, "atol": 2e-6}


@pytest.mark.parametrize("kind", ["binary", "three", "number"])
@pytest.mark.parametrize(("numbers", "codes"), [(3, 2), (3, 0), (0, 2)])
@pytest.mark.parametrize("rows", [1, 120])
def test_they_answer_alike(kind, numbers, codes, rows):
    fitted, x, c, _ = fitted_neighbors(kind, numbers=numbers, codes=codes)
    x, c = x[:rows], c[:rows]
    written = Written(numbers, codes)
    tensor = write_neighbors(written.graph, fitted.neighbors, written.prepared)
    found = written.run(tensor, np.float32, 2, x.numpy(), c.numpy())
    np.testing.assert_allclose(found, fitted.neighbors(x, c).numpy(), **CLOSE)


def test_values_far_away_and_codes_that_no_training_row_has():
    fitted, x, c, _ = fitted_neighbors("three", weight=np.linspace(0, 2, 120))
    x, c = x * 1e6, c + 300
    written = Written(3, 2)
    tensor = write_neighbors(written.graph, fitted.neighbors, written.prepared)
    found = written.run(tensor, np.float32, 2, x.numpy(), c.numpy())
    np.testing.assert_allclose(found, fitted.neighbors(x, c).numpy(), **CLOSE)


def test_places_far_apart_lose_nothing():
    """Training for long moves places apart: the square of a small distance is the difference of large numbers."""
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, size=(600, 2)).astype(np.float32)
    target = (np.floor((x + 1) * 4).sum(axis=1) % 2).astype(np.int64)
    model = fit_neighbors(
        x, np.zeros((600, 0), np.int32), target, np.arange(600) % 3, classification=True, outputs=2, epochs=30, patience=None
    ).neighbors  # fmt: skip
    before = model(torch.from_numpy(x), torch.zeros(600, 0, dtype=torch.int32))
    model.bias += 1_000.0  # all move alike
    model.places += 1_000.0 * model.stretch.exp()[:, :, None]
    written = Written(2)
    tensor = write_neighbors(written.graph, model, written.prepared)
    found = written.run(tensor, np.float32, 2, x)
    alone = torch.cat([model(torch.from_numpy(row[None]), torch.zeros(1, 0, dtype=torch.int32)) for row in x])  # fmt: skip
    whole = model(torch.from_numpy(x), torch.zeros(600, 0, dtype=torch.int32))
    np.testing.assert_allclose(
        whole.exp(), before.exp(), rtol=0, atol=1e-2
    )  # places are kept in float32
    np.testing.assert_allclose(np.exp(found), np.exp(whole.numpy()), rtol=0, atol=2e-6)
    np.testing.assert_allclose(np.exp(alone.numpy()), np.exp(whole.numpy()), rtol=0, atol=2e-6)
