from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import sightline as sl
from sightline.errors import InternalError
from sightline.pipeline import parts
from sightline.pipeline.parts import PART_FITS, FittedPart
from sightline.pipeline.recipe import LEAST_GAIN, trees_for
from sightline.predict.parts import PARTS, Part, SavedPart, WrittenPart
from tests.pipeline.fits import train_model


def test_every_part_of_the_registry_has_a_fit_in_the_same_order():
    assert list(PART_FITS) == list(PARTS)


class PriorPart(Part):
    """A third part: every row gets the shares of the classes."""

    name = "prior"
    member = "prior"

    @property
    def thread_safe(self):
        return True

    def values(self, task, numeric_BD, codes_BC):
        return self.module.weight.log().expand(len(numeric_BD), -1)

    def write(self, graph, task, prepared):
        shares = graph.constant(self.module.weight.detach().numpy())
        rows = graph.op("Shape", prepared.features, start=0, end=1)
        shape = graph.op("Concat", rows, graph.constant([3], np.int64), axis=0)
        shown = graph.op("Expand", shares, shape)
        return WrittenPart(graph.op("Log", shown), shown)

    def save(self):
        return SavedPart({}, self.module.state_dict())

    @classmethod
    def load(cls, saved, context):
        module = nn.Linear(3, 1, bias=False)
        module.load_state_dict(dict(saved.tensors))
        return cls(module)


def fit_prior(request):
    rows = request.training.prepared.train
    module = nn.Linear(3, 1, bias=False)
    shares = torch.bincount(rows.target, minlength=3) / len(rows.row)
    module.weight = nn.Parameter(shares[None], requires_grad=False)
    record = {"fingerprint": f"{shares.sum():.3f}", "again": request.first is not None}
    return FittedPart(PriorPart(module), shares.log().expand(len(rows.row), -1), record)


@pytest.fixture
def third(monkeypatch):
    monkeypatch.setitem(LEAST_GAIN, "fast", -1.0)  # it stays, although it brings nothing
    monkeypatch.setitem(PARTS, "prior", PriorPart)
    monkeypatch.setitem(PART_FITS, "prior", fit_prior)


def test_a_new_part_is_blended_saved_recorded_and_replayed(third, penguins, tmp_path):
    run = sl.fit(penguins, "species", quality="fast", epochs=2, trees=False, run=tmp_path / "a", quiet=True,
                 report=False, baselines=False)  # fmt: skip
    assert list(run.model.blend.weights) == ["network", "prior"]
    assert run.find("train", "prior")[0].body["again"] is False
    loaded = sl.Model.load(tmp_path / "a" / "model.sightline")
    assert (loaded.predict_proba(penguins) == run.model.predict_proba(penguins)).all()
    loaded.to_onnx(tmp_path / "m.onnx", check=penguins)
    assert "probabilities_prior" in sl.OnnxModel.load(tmp_path / "m.onnx").output_names
    explained = loaded.explain_rows(loaded.read(penguins), [0])[0]
    assert [part["name"] for part in explained.parts] == ["network", "prior"]
    again = sl.replay(tmp_path / "a", to=tmp_path / "b", quiet=True)
    assert again.find("train", "replay")[0].body["identical"]
    assert again.find("train", "prior")[0].body["again"] is True


def test_a_part_without_out_of_fold_predictions_cannot_be_weighed(third, penguins, monkeypatch):
    def fit_without(request):
        return replace(fit_prior(request), out_of_fold=None)

    monkeypatch.setitem(PART_FITS, "prior", fit_without)
    with pytest.raises(InternalError, match="The part 'prior' has no out-of-fold predictions"):
        train_model(sl.read(penguins), "species", quality="fast", settings={"epochs": 1})


@pytest.mark.parametrize(("valid", "rows"), [(None, 344), (0.5, 172 + 86)])
def test_trees_are_sized_by_all_rows_that_they_are_grown_with(penguins, monkeypatch, valid, rows):
    """Without folds, validation rows decide the number of rounds, and count too; half of them are for calibration."""
    sizes = []

    def spy(recipe, size):
        sizes.append(size.rows)
        return trees_for(recipe, size)

    monkeypatch.setattr(parts, "trees_for", spy)
    train_model(sl.read(penguins), "species", quality="fast", valid=valid, test=0, epochs=1)
    assert sizes == [rows]
