"""Models to serve, and servers that several tests ask."""

import pytest

import sightline as sl
from tests.predict.tables import columns, train
from tests.serve.served import serving

SLOW = '''
import time
import torch
from torch import nn


class Slow(nn.Module):
    """Takes its time for each call."""

    def __init__(self, spec):
        super().__init__()
        self.inner = nn.Linear(spec.flat_width, spec.outputs)

    def forward(self, numeric, categorical):
        if not self.training:
            time.sleep(0.2)
        return self.inner(numeric)
'''


@pytest.fixture(scope="session")
def models(tmp_path_factory, penguins):
    """Files of models: one of every kind of column, the default model of the penguins, a number, a slow network."""
    folder = tmp_path_factory.mktemp("models")
    mixed = train(columns())
    mixed.save(folder / "mixed.sightline")
    mixed.to_onnx(folder / "mixed.onnx")
    species = sl.fit(penguins, "species", quality="fast", run=folder / "run", report=False, quiet=True).model  # fmt: skip
    species.save(folder / "species.sightline", onnx=True)
    species.save(folder / "torch.sightline")
    weight = sl.fit(penguins, "body_mass_g", quality="fast", run=folder / "weight", report=False, quiet=True).model  # fmt: skip
    weight.save(folder / "weight.sightline", onnx=True)
    (folder / "net.py").write_text(SLOW, encoding="utf-8")
    numbers = {"x": [i / 4 for i in range(40)], "y": ["a", "b"] * 20}
    slow = sl.fit(numbers, "y", network=f"{folder / 'net.py'}:Slow", epochs=1, run=folder / "slow", report=False, quiet=True)  # fmt: skip
    slow.model.save(folder / "slow.sightline")
    return folder


@pytest.fixture(scope="session")
def server(models):
    """One process with several models."""
    names = ("mixed.sightline", "species.sightline", "weight.sightline")
    paths = [f"exported={models / 'mixed.onnx'}", *(models / name for name in names)]
    with serving(*paths, "--max-rows", 500, "--max-body", 200_000, "--log", "all") as server:
        yield server


@pytest.fixture(scope="session")
def rows(penguins):
    """Rows of the penguins as JSON objects."""
    table = sl.read(penguins)
    return [table.row(number) for number in range(table.rows)]
