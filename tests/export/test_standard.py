"""Standardised numbers as ONNX nodes, beside `standardised`."""

import numpy as np
import torch

from sightline.build.standard import standardised
from sightline.export.standard import write_standardised
from tests.export.running import Written


def test_they_answer_alike():
    center, scale = (torch.tensor(x, dtype=torch.float64) for x in ([0.5, -1.0, 0.0], [2.0, 0.05, 1.0]))  # fmt: skip
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)) * 10
    written = Written(3)
    tensor = write_standardised(written.graph, center, scale, written.prepared)
    found = written.run(tensor, np.float64, 2, x.numpy())
    np.testing.assert_allclose(found, standardised(x, center, scale).numpy(), rtol=1e-12)
