"""Every format version ever written stays readable (see regenerate.py)."""

import json
from pathlib import Path

import numpy as np
import pytest

import sightline as sl
from sightline import archive

HERE = Path(__file__).parent


def test_there_is_a_bundle_of_every_version():
    kept = sorted(path.stem for path in HERE.glob("*.sightline"))
    assert kept == [f"version_{number}" for number in range(1, archive.version_of("model") + 1)]


@pytest.mark.parametrize("version", range(1, archive.version_of("model") + 1))
def test_a_bundle_of_each_version_predicts_what_it_did(version):
    expected = json.loads((HERE / f"version_{version}.json").read_text(encoding="utf-8"))
    model = sl.Model.load(HERE / f"version_{version}.sightline")
    assert list(model.classes) == expected["classes"]
    found = model.predict_proba(expected["rows"])
    # Other processors multiply in another order: the last bit may differ.
    np.testing.assert_allclose(found, expected["probabilities"], rtol=1e-5, atol=1e-7)


def test_the_first_bundles_lack_a_typical_row_and_explain_without_pushes():
    expected = json.loads((HERE / "version_1.json").read_text(encoding="utf-8"))
    model = sl.Model.load(HERE / "version_1.sightline")
    found = model.explain({name: values[0] for name, values in expected["rows"].items()})
    assert found.probabilities == pytest.approx(expected["probabilities"][0], rel=1e-5)
    assert found.pushes is None
    assert "fit it again" in found.pushes_note


def test_the_second_bundles_have_trees_and_calibration():
    model = sl.Model.load(HERE / "version_2.sightline")
    assert model.trees is not None
    assert set(model.blend.weights) == {"network", "trees"}
    expected = json.loads((HERE / "version_2.json").read_text(encoding="utf-8"))
    assert model.predict_set(expected["rows"], alpha=0.2).shape == (8, len(model.classes))
