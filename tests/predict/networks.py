"""A network of the user's own, whose file leaves a mark when it is run."""

import os
from pathlib import Path

from torch import nn

if mark := os.environ.get("SIGHTLINE_TEST_MARK"):
    Path(mark).touch()


class Own(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(len(spec.numeric), 6), nn.Tanh(), nn.Linear(6, spec.outputs)
        )

    def forward(self, numeric, categorical):
        return self.layers(numeric)


class Members(Own):
    def forward(self, numeric, categorical):
        logits = self.layers(numeric)
        return logits[:, None] * logits.new_tensor([0.5, 1.0, 2.0])[:, None]
