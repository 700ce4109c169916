"""A fit without a run folder and without words, for tests that look at what comes of it."""

from sightline.contracts import FitOptions
from sightline.pipeline.beginnings import Fresh
from sightline.pipeline.flow import run_stages


def train_model(table, target, *, test=0, settings=None, **options):
    """Take a table through the five stages; return the model and its training."""
    asked = FitOptions.of(target, test=test, **options, **(settings or {}))
    outcome = run_stages(Fresh(table, asked))
    return outcome.finished.model, outcome.training
