"""How nearest-neighbours models with a learned distance are fitted."""

import numpy as np
import pytest
import torch

from sightline.build import neighbors_fit as f
from sightline.build.neighbors_fit import fit_neighbors
from sightline.errors import OptionError
from tests.build.grown import asked, fitted_neighbors

NO_CODES = np.zeros((400, 0), np.int32)


def clusters(seed=0, rows=400):
    """Two classes in a checkerboard of 16 fields, and 2 columns that say nothing."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 1, size=(rows, 4)).astype(np.float32)
    fields = np.floor((x[:, :2] + 1) * 2).clip(max=3)
    return x, (fields.sum(axis=1) % 2).astype(np.int64)


def test_it_learns_which_columns_count():
    x, target = clusters()
    fitted = fit_neighbors(x, NO_CODES, target, np.arange(400) % 4, classification=True, outputs=2)
    assert fitted.held_out_loss < 0.55 < np.log(2)
    assert fitted.best_epoch > 1
    new, wanted = clusters(seed=1)
    with torch.no_grad():
        values = fitted.neighbors(torch.from_numpy(new), torch.from_numpy(NO_CODES))
    assert float((values.argmax(dim=1).numpy() == wanted).mean()) > 0.75


@pytest.mark.parametrize("kind", ["binary", "three", "number"])
def test_a_row_is_predicted_by_the_fold_that_did_not_learn_from_it(kind):
    fitted, x, c, target = fitted_neighbors(kind)
    model = fitted.neighbors
    for fold in range(3):
        held = np.arange(120) % 3 == fold
        state = {k: v[fold : fold + 1] if len(v) == 3 and k not in ("center", "scale", "starts") else v for k, v in model.state_dict().items()}  # fmt: skip
        alone = model.restored({**model.config(), "folds": 1}, state, "one fold")
        np.testing.assert_allclose(alone(x, c).numpy()[held], fitted.held_out[held], rtol=1e-4, atol=1e-4)  # fmt: skip
    if kind == "number":
        loss = np.square(fitted.held_out[:, 0] - target).mean()
    else:
        loss = -fitted.held_out[np.arange(120), target].mean()
    assert fitted.held_out_loss == pytest.approx(loss, rel=1e-4)
    assert fitted.history[fitted.best_epoch - 1][2] == min(loss for *_, loss in fitted.history)


def test_no_target_of_a_fold_touches_its_predictions():
    x, c, target, outputs = asked("three", 120)
    folds = np.arange(120) % 3
    other = np.where(folds == 1, (target + 1) % 3, target)
    one, two = (
        fit_neighbors(x, c, y, folds, classification=True, outputs=outputs, epochs=1)
        for y in (target, other)
    )
    np.testing.assert_array_equal(one.held_out[folds == 1], two.held_out[folds == 1])
    assert not np.allclose(one.held_out[folds != 1], two.held_out[folds != 1])


def test_rows_of_weight_zero_have_no_effect():
    x, c, target, outputs = asked("three", 120)
    folds, weight = np.arange(120) % 3, np.ones(120)
    weight[::5] = 0.0
    wrong = np.where(weight == 0, (target + 1) % 3, target)
    one, two = (
        fit_neighbors(x, c, y, folds, classification=True, outputs=outputs, epochs=2, weight_N=weight)
        for y in (target, wrong)
    )  # fmt: skip
    np.testing.assert_array_equal(one.held_out, two.held_out)
    assert one.held_out_loss == two.held_out_loss
    assert np.isfinite(one.held_out).all()


def test_weights_count_by_their_relations_only():
    x, c, target, outputs = asked("binary", 120)
    weight = np.random.default_rng(0).uniform(0.1, 3, size=120)
    one, two, without = (
        fit_neighbors(x, c, target, np.arange(120) % 3, classification=True, outputs=outputs, epochs=1, weight_N=w)
        for w in (weight, 8 * weight, None)
    )  # fmt: skip
    np.testing.assert_allclose(one.held_out, two.held_out, rtol=1e-4, atol=1e-4)
    assert not np.allclose(one.held_out, without.held_out, atol=1e-3)


def test_weights_in_one_fold_alone_leave_the_others_something_to_learn_from():
    x, c, target, outputs = asked("binary", 60)
    folds = np.arange(60) % 3
    fitted = fit_neighbors(
        x, c, target, folds, classification=True, outputs=outputs, epochs=1, weight_N=(folds == 0) * 1.0
    )  # fmt: skip
    assert np.isfinite(fitted.held_out).all()
    assert all(tensor.isfinite().all() for tensor in fitted.neighbors.state_dict().values())


def test_the_same_whatever_the_threads():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        first, *_ = fitted_neighbors("three")
        torch.set_num_threads(2)
        again, *_ = fitted_neighbors("three")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    for name, tensor in first.neighbors.state_dict().items():
        assert torch.equal(again.neighbors.state_dict()[name], tensor), name


def test_many_rows_are_scaled_alike_whatever_the_threads(monkeypatch):
    """PyTorch divides the sums of many values among threads."""
    monkeypatch.setattr(f._Fold, "train_epoch", lambda fold: 0.0)  # what learns is tested above
    random = np.random.default_rng(0)
    x = random.normal(size=(40_000, 1)).astype(np.float32)
    target, weight = random.integers(2, size=40_000), random.uniform(0.1, 2, size=40_000)
    before, scales = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            model = fit_neighbors(
                x, np.zeros((40_000, 0), np.int32), target, np.arange(40_000) % 2, classification=True, outputs=2,
                weight_N=weight, references=5, epochs=1,
            ).neighbors  # fmt: skip
            scales.append((float(model.center), float(model.scale), model.pulls))
    finally:
        torch.set_num_threads(before)
    assert scales[0][:2] == scales[1][:2]
    assert torch.equal(scales[0][2], scales[1][2])


def test_class_weights_say_nothing_of_a_held_out_row():
    """Weights by class change with a held-out row's class; the scales of numbers and the places do not."""
    x, c, target, outputs = asked("binary", 120)
    folds = np.arange(120) % 3
    weight = np.where(target == 1, 3.0, 1.0)
    other, moved = target.copy(), weight.copy()
    other[1] = 1 - other[1]  # a row of fold 1
    moved[1] = 4.0 - moved[1]
    one, two = (
        fit_neighbors(x, c, y, folds, classification=True, outputs=outputs, epochs=1, weight_N=w)
        for y, w in ((target, weight), (other, moved))
    )  # fmt: skip
    np.testing.assert_array_equal(one.neighbors.center, two.neighbors.center)
    np.testing.assert_array_equal(one.neighbors.scale, two.neighbors.scale)
    np.testing.assert_allclose(one.held_out[1], two.held_out[1], rtol=1e-3, atol=1e-3)


def test_predictions_that_are_no_numbers_are_never_the_best():
    x, c, target, _ = asked("number", 60)
    huge = np.where(np.arange(60) == 0, 1e30, target).astype(np.float32)
    fitted = fit_neighbors(x, c, huge, np.arange(60) % 3, classification=False, outputs=1, epochs=2)
    assert fitted.held_out_loss == np.inf
    assert [loss for *_, loss in fitted.history] == [np.inf, np.inf]


def test_no_weight_at_all_counts_all_rows_alike():
    x, c, target, outputs = asked("binary", 60)
    one, two = (
        fit_neighbors(x, c, target, np.arange(60) % 3, classification=True, outputs=outputs, epochs=1, weight_N=w)
        for w in (np.zeros(60), np.full(60, 1e308))
    )  # fmt: skip
    np.testing.assert_array_equal(one.held_out, two.held_out)


def test_as_many_epochs_as_were_made_make_the_same_again():
    first, *_ = fitted_neighbors("three", epochs=30, patience=2)
    assert 2 < len(first.history) < 30
    assert first.best_epoch < len(first.history)
    assert first.stopped == "the held-out loss has not fallen for 2 epochs"
    again, *_ = fitted_neighbors("three", epochs=len(first.history), patience=None)
    assert again.stopped == f"all {len(first.history)} epochs done"
    assert again.best_epoch == first.best_epoch
    np.testing.assert_array_equal(again.held_out, first.held_out)
    other, *_ = fitted_neighbors("three", epochs=2, seed=1)
    assert not np.array_equal(other.held_out, again.held_out)


def test_it_is_asked_after_two_epochs_whether_to_go_on():
    told = []

    def worth(values):
        told.append(values.shape)
        return False

    fitted, *_ = fitted_neighbors("three", epochs=9, patience=None, worth=worth)
    assert told == [(120, 3)]
    assert len(fitted.history) == 2
    assert fitted.stopped == "no help to the other parts after epoch 2"
    fitted, *_ = fitted_neighbors("three", epochs=5, patience=None, worth=lambda _: True)
    assert len(fitted.history) == 5


def test_a_time_limit_ends_training_before_an_epoch_that_would_take_longer(monkeypatch):
    clock = iter([0.0, 1.0, 2.0, 3.0, 3.0])
    monkeypatch.setattr(f.time, "perf_counter", lambda: next(clock))
    fitted, *_ = fitted_neighbors("binary", epochs=9, time_limit=3.5)
    assert len(fitted.history) == 3
    assert fitted.stopped == "time limit"
    assert fitted.seconds == 3.0


def test_it_keeps_so_many_rows_at_most():
    fitted, *_ = fitted_neighbors("binary", references=10)
    assert fitted.references == 10
    assert list(fitted.neighbors.places.shape) == [3, 10, 64]
    few, *_ = fitted_neighbors("binary", rows=31, folds=3)  # folds of 11, 10 and 10 rows
    pulls = few.neighbors.pulls
    assert (pulls < -1e8).sum(dim=1).tolist() == [1, 0, 0], "padded"


def test_rows_of_no_fold_are_learned_from_and_not_predicted():
    x, c, target, outputs = asked("binary", 120)
    folds = np.where(np.arange(120) < 80, -1, 0)
    fitted = fit_neighbors(x, c, target, folds, classification=True, outputs=outputs, epochs=1)
    assert np.isnan(fitted.held_out[:80]).all()
    assert np.isfinite(fitted.held_out[80:]).all()
    assert fitted.references == 80


@pytest.mark.parametrize("columns", ["numbers", "codes", "none"])
def test_columns_of_one_kind_or_none(columns):
    x, c, target, outputs = asked("three", 60)
    x, c = x if columns == "numbers" else x[:, :0], c if columns == "codes" else c[:, :0]
    fitted = fit_neighbors(x, c, target, np.arange(60) % 3, classification=True, outputs=outputs, epochs=1)  # fmt: skip
    values = fitted.neighbors(torch.from_numpy(x), torch.from_numpy(c))
    assert torch.isfinite(values).all()
    np.testing.assert_allclose(values.exp().sum(dim=1), 1, atol=1e-5)


def test_a_fold_may_lack_a_class_and_a_category_a_value():
    x, c, target, _ = asked("three", 120)
    folds = np.arange(120) % 3
    target = np.where(folds == 0, target, np.minimum(target, 1))
    c[folds != 0, 0] = 1
    fitted = fit_neighbors(x, c, target, folds, classification=True, outputs=3, epochs=1)
    assert np.isfinite(fitted.held_out).all()
    cells = fitted.neighbors.cells[0]
    seen = np.unique(c[folds != 0, 0])
    unseen = sorted(set(range(int(c[:, 0].max()) + 1)) - set(seen.tolist()))
    assert (cells[unseen] == 0).all(), "fold 0 learned nothing of these values"
    assert (cells[seen] != 0).any()


def test_two_rows_and_one_fold_that_learns_from_one():
    x = np.zeros((3, 1), np.float32)
    fitted = fit_neighbors(
        x, NO_CODES[:3], np.array([0, 1, 1]), np.array([0, 1, 1]), classification=True, outputs=2, epochs=2
    )  # fmt: skip
    assert np.isfinite(fitted.held_out).all()


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"references": 0}, "references is 0"), ({"epochs": 0}, "epochs is 0")],
)
def test_what_cannot_be_is_refused(options, problem):
    with pytest.raises(OptionError, match=problem):
        fitted_neighbors(**options)
    x, c, target, outputs = asked("binary", 30)
    with pytest.raises(OptionError, match="fitted in folds, and there are none"):
        fit_neighbors(x, c, target, np.full(30, -1), classification=True, outputs=outputs)


@pytest.mark.parametrize("identifier", [False, True])
def test_noise_and_an_identifier_are_not_learned_out_of_fold(identifier):
    """The out-of-fold loss of a noise target is that of new rows, within chance."""
    differences = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        x = random.normal(size=(600, 2)).astype(np.float32)
        c = random.integers(500, size=(600, 1)).clip(max=254).astype(np.int32) if identifier else np.zeros((600, 0), np.int32)  # fmt: skip
        y = random.integers(2, size=600)
        fitted = fit_neighbors(
            x[:200], c[:200], y[:200], np.arange(200) % 5, classification=True, outputs=2, epochs=10, seed=seed
        )  # fmt: skip
        # One fold's model, as out of fold: their mean is better.
        one = fitted.neighbors
        state = {k: v[:1] if v.ndim and len(v) == 5 else v for k, v in one.state_dict().items()}
        alone = one.restored({**one.config(), "folds": 1}, state, "one fold")
        new = alone(torch.from_numpy(x[200:]), torch.from_numpy(c[200:])).numpy()
        differences.append(fitted.held_out_loss + new[np.arange(400), y[200:]].mean())
    mean, error = np.mean(differences), np.std(differences) / len(differences) ** 0.5
    assert mean > -2 * error, "it must not look better than it is"
