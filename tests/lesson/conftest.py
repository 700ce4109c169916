"""Runs whose lessons the tests read; look, do not change."""

import numpy as np
import pytest

import sightline as sl


@pytest.fixture(scope="package")
def runs(tmp_path_factory, penguins):
    """Lessons of different kinds: classes, a number, two classes, no validation, words alone."""
    folder = tmp_path_factory.mktemp("lessons")
    random = np.random.default_rng(0)
    words = {"a": random.choice(["x", "y", "z"], 200).tolist(),
             "b": random.choice(["p", "q"], 200).tolist()}  # fmt: skip
    words["kind"] = [f"{a}!" for a in words["a"]]
    small = {"network": "MLP", "baselines": False, "epochs": 3, "quiet": True, "device": "cpu"}
    return {
        "classes": sl.fit(penguins, "species", run=folder / "classes", **small),
        "number": sl.fit(penguins, "body_mass_g", run=folder / "number", seed=1, **small),
        "binary": sl.fit(
            penguins, "sex", positive="female", run=folder / "binary", seed=2, **small
        ),
        "unwatched": sl.fit(
            penguins, "species", valid=0, test=0, run=folder / "none", seed=3, **small
        ),
        "words": sl.fit(words, "kind", run=folder / "words", **small),
        "demo": sl.demo(run=folder / "demo", quiet=True),
    }


KINDS = ["classes", "number", "binary", "unwatched", "words", "demo"]


@pytest.fixture(params=KINDS)
def run(request, runs):
    return runs[request.param]
