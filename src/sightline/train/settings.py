"""The settings of a training; they are declared with all other options."""

from sightline.contracts.options import ClassWeights
from sightline.contracts.options import TrainingSettings as Settings

__all__ = ["ClassWeights", "Settings"]
