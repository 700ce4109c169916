"""One ensemble while it grows: how scikit-learn's trees are read, and its loss on its own rows."""

import pytest

from sightline.build.growth import Growth
from sightline.errors import InternalError
from tests.build.grown import grown


def test_a_scikit_learn_of_another_form_is_noticed(monkeypatch):
    read = Growth._read

    def wrong(self, predictor):
        tree = read(self, predictor)
        tree.value[:] = tree.value[::-1]
        return tree

    monkeypatch.setattr(Growth, "_read", wrong)
    with pytest.raises(InternalError, match=r"scikit-learn \d.* were read wrongly"):
        grown("binary")


def test_one_ensemble_that_has_run_away_does_not_ship(monkeypatch):
    fitted, *_ = grown("binary", most_trees=1)
    assert fitted.trees.folds == 1
    monkeypatch.setattr(Growth, "own_loss", lambda self: 27.0)
    fitted, *_ = grown("binary", most_trees=1)
    assert fitted.trees.folds == 3


@pytest.mark.parametrize("kind", ["binary", "number"])
def test_its_loss_on_its_own_rows_is_below_that_of_others(kind, monkeypatch):
    losses = []
    real = Growth.own_loss

    def spy(self):
        losses.append(real(self))
        return losses[-1]

    monkeypatch.setattr(Growth, "own_loss", spy)
    fitted, *_ = grown(kind, most_trees=1)
    assert 0 < losses[0] < min(loss for _, loss in fitted.history)
