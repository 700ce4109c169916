"""How kernel models are fitted, held against scikit-learn's kernel ridge regression."""

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge

from sightline.build import kernel_fit as f
from sightline.build.kernel_fit import fit_kernel
from sightline.errors import OptionError
from tests.build.grown import asked, fitted_kernel


def theirs(fitted, x, c, target, fold, folds=3):
    """The scores of scikit-learn's model of the same rows."""
    near = fitted.kernel.similarities(x, c).numpy()
    order = [
        int(((x == z).all(dim=1) & (c == q).all(dim=1)).nonzero()[0])
        for z, q in zip(fitted.kernel.landmark_numbers, fitted.kernel.landmark_codes, strict=True)
    ]
    near = near[:, np.argsort(order)]
    learns = np.arange(len(target)) % folds != fold
    outputs = len(fitted.kernel.intercept)
    wanted = target[:, None] if outputs == 1 else np.eye(outputs)[target]
    mean = wanted[learns].mean(axis=0)
    model = KernelRidge(alpha=fitted.ridge, kernel="precomputed")
    model.fit(near[np.ix_(learns, learns)], wanted[learns] - mean)
    return model.predict(near[:, learns]) + mean


def log_softmax(scores):
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


@pytest.mark.parametrize(("numbers", "codes"), [(3, 2), (3, 0)])
@pytest.mark.parametrize("kind", ["binary", "three", "number"])
def test_with_all_rows_as_landmarks_they_are_scikit_learns(kind, numbers, codes):
    once = {"bandwidths": [1.0], "ridges": [0.1]}
    fitted, x, c, target = fitted_kernel(kind, rows=120, numbers=numbers, codes=codes, **once)
    assert fitted.landmarks == 120
    scores = [theirs(fitted, x, c, target, fold) for fold in range(3)]
    found = fitted.kernel(x, c).numpy()
    if kind == "number":
        np.testing.assert_allclose(found, np.mean(scores, axis=0), rtol=1e-3, atol=1e-4)
    else:
        expected = log_softmax(float(fitted.kernel.sharpness) * np.mean(scores, axis=0))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    for fold in range(3):
        held = np.arange(120) % 3 == fold
        own, wanted = fitted.held_out[held], scores[fold][held]
        if kind != "number":  # up to the sharpness that the other folds choose
            own, wanted = (
                own - own.mean(axis=1, keepdims=True),
                wanted - wanted.mean(axis=1, keepdims=True),
            )
            own /= (own * wanted).sum() / (wanted**2).sum()
        np.testing.assert_allclose(own, wanted, rtol=1e-3, atol=1e-3)


def test_the_best_is_chosen_and_said():
    fitted, _, _, target = fitted_kernel("three")
    assert len(fitted.history) == len(f.BANDWIDTHS) * len(f.RIDGES)
    assert (fitted.bandwidth, fitted.ridge) == min(fitted.history, key=lambda tried: tried[2])[:2]
    lowest = min(loss for _, _, loss in fitted.history)
    assert lowest <= fitted.held_out_loss < 1.1 * lowest  # it is not the loss that chose
    given = fitted.held_out[np.arange(300), target]
    assert fitted.held_out_loss == pytest.approx(-given.mean(), rel=1e-5)


def test_a_number_s_loss_is_the_mean_squared_error():
    fitted, _, _, target = fitted_kernel("number")
    errors = fitted.held_out[:, 0] - target
    assert fitted.held_out_loss == pytest.approx(np.square(errors).mean(), rel=1e-5)


def test_what_it_says_makes_the_same_again(monkeypatch):
    monkeypatch.setattr(f, "SEARCH_LANDMARKS", 50)
    first, *_ = fitted_kernel("three")
    # Time for all bandwidths, but not for all landmarks.
    clock = iter([0.0, *(float(i) for i in range(12)), 12.0, 13.0])
    monkeypatch.setattr(f.time, "perf_counter", lambda: next(clock))
    limited, *_ = fitted_kernel("three", time_limit=30.0)
    monkeypatch.undo()
    monkeypatch.setattr(f, "SEARCH_LANDMARKS", 50)
    # A bandwidth took 1 s, 18 s are left, and the time goes with the third power of the landmarks.
    assert limited.landmarks == int(50 * 18 ** (1 / 3))
    for fitted in (first, limited):
        again, *_ = fitted_kernel(
            "three", landmarks=fitted.landmarks, bandwidths=[tried for tried, _, _ in fitted.history[:: len(f.RIDGES)]]
        )  # fmt: skip
        assert np.array_equal(again.held_out, fitted.held_out)
        for name, tensor in fitted.kernel.state_dict().items():
            assert torch.equal(again.kernel.state_dict()[name], tensor), name


def test_the_same_whatever_the_threads():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        first, *_ = fitted_kernel("three")
        torch.set_num_threads(2)
        again, *_ = fitted_kernel("three")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    for name, tensor in first.kernel.state_dict().items():
        assert torch.equal(again.kernel.state_dict()[name], tensor), name


def test_fewer_landmarks_than_rows_say_nearly_the_same():
    once = {"bandwidths": [2.0], "ridges": [0.1]}
    all_rows, *_ = fitted_kernel("binary", rows=600, **once)
    few, *_ = fitted_kernel("binary", rows=600, landmarks=200, **once)
    assert few.landmarks == 200
    assert few.held_out_loss < 1.05 * all_rows.held_out_loss


def test_with_all_landmarks_it_follows_what_few_cannot(monkeypatch):
    """Such as a fast wave."""
    monkeypatch.setattr(f, "SEARCH_LANDMARKS", 10)
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, size=(400, 1)).astype(np.float32)
    wave = np.sin(12 * x[:, 0]) + random.normal(size=400) * 0.01
    fitted = fit_kernel(
        x, np.zeros((400, 0), np.int32), wave, np.arange(400) % 4, classification=False, outputs=1,
        bandwidths=[0.5], ridges=[0.01, 0.1, 1.0],
    )  # fmt: skip
    best = min(fitted.history, key=lambda tried: tried[2])
    assert fitted.ridge in (best[1], best[1] / 10)
    assert fitted.held_out_loss < 0.5 * best[2]


@pytest.mark.parametrize(("worth", "landmarks"), [(10.0, 300), (0.0, 50), (None, 300)])
def test_all_landmarks_are_used_where_few_are_promising(monkeypatch, worth, landmarks):
    monkeypatch.setattr(f, "SEARCH_LANDMARKS", 50)
    assert fitted_kernel("binary", worth=worth)[0].landmarks == landmarks


def test_with_all_landmarks_a_weaker_ridge_is_tried_too(monkeypatch):
    monkeypatch.setattr(f, "SEARCH_LANDMARKS", 50)
    solve, tried = f._solve, []

    def watched(*arguments):
        tried.append((len(arguments[2]), arguments[3], arguments[4]))
        return solve(*arguments)

    monkeypatch.setattr(f, "_solve", watched)
    fitted = fitted_kernel("binary", ridges=[1e-6, 0.1, 1.0], bandwidths=[0.5])[0]
    best = min(fitted.history, key=lambda one: one[2])[1]
    assert best > 1e-6
    assert tried[-1] == (300, 0.5, [best / 10, best])


def test_the_median_distance_of_wide_tables():
    """The similarity of two rows of so many columns is 0 in float64."""
    x = np.random.default_rng(0).normal(size=(60, 3_000)).astype(np.float32)
    fitted = fit_kernel(
        x, np.zeros((60, 0), np.int32), x[:, 0], np.arange(60) % 2, classification=False, outputs=1,
        bandwidths=[1.0], ridges=[1.0],
    )  # fmt: skip
    own = fitted.kernel.standardised(fitted.kernel.landmark_numbers)
    median = torch.nn.functional.pdist(own).median()
    assert float(fitted.kernel.width) == pytest.approx(float(median), rel=1e-6)


def test_landmarks_of_a_sorted_table_are_spread():
    x = np.linspace(-1, 1, 400, dtype=np.float32)[:, None]
    fitted = fit_kernel(
        x, np.zeros((400, 0), np.int32), x[:, 0], np.arange(400) % 2, classification=False, outputs=1, landmarks=40
    )  # fmt: skip
    counts = np.histogram(fitted.kernel.landmark_numbers.numpy(), bins=4, range=(-1, 1))[0]
    assert counts.min() >= 3
    assert counts.sum() == 40


def test_numbers_are_standardised_over_the_rows_that_count_whatever_they_weigh():
    """Weights may come from the classes, and so from the targets of rows that a fold holds out."""
    x, c, target, _ = asked("binary", 300)
    weight = np.where(x[:, 0] > 0, 100.0, 1.0)
    weight[x[:, 1] > 1] = 0.0
    kernel = fit_kernel(
        x, c, target, np.arange(300) % 3, classification=True, outputs=2, weight_N=weight, bandwidths=[1.0]
    ).kernel  # fmt: skip
    own = x[weight > 0]
    np.testing.assert_allclose(kernel.center.numpy(), own.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(kernel.scale.numpy(), own.std(axis=0), rtol=1e-5)


def test_equal_rows_are_one_landmark():
    x, c, target, _ = asked("binary", 200, 2, 1)
    twice = [np.concatenate([part, part]) for part in (x, c, target)]
    fitted = fit_kernel(*twice, np.arange(400) % 2, classification=True, outputs=2)
    assert fitted.landmarks == 200
    assert np.isfinite(fitted.held_out).all()


def test_a_row_of_weight_0_has_no_effect():
    x, c, target, _ = asked("three", 200)
    weight = np.where(np.arange(200) < 150, 2.0, 0.0)
    folds = np.arange(200) % 3
    options = {"classification": True, "outputs": 3}
    without = fit_kernel(x[:150], c[:150], target[:150], folds[:150], **options)
    fitted = fit_kernel(x, c, (target + (weight == 0)) % 3, folds, weight_N=weight, **options)
    np.testing.assert_allclose(fitted.held_out[:150], without.held_out, rtol=1e-4, atol=1e-5)
    assert fitted.held_out_loss == pytest.approx(without.held_out_loss, rel=1e-6)
    assert fitted.landmarks == 150


def test_the_unit_of_weights_does_not_matter_but_their_relations_do():
    weight = np.random.default_rng(1).uniform(0.5, 2, 300)
    first, *others, plain = (
        fitted_kernel("binary", weight=w, bandwidths=[1.0], ridges=[0.1])[0]
        for w in (weight, 1e30 * weight, 1e-30 * weight, None)
    )
    for other in others:
        np.testing.assert_allclose(other.held_out, first.held_out, rtol=1e-4, atol=1e-5)
    assert np.abs(first.held_out - plain.held_out).max() > 1e-3


def test_rows_of_no_fold_are_learned_from_and_not_held_out():
    x, c, target, _ = asked("binary", 300)
    folds = np.where(np.arange(300) < 100, 0, -1)
    fitted = fit_kernel(x, c, target, folds, classification=True, outputs=2)
    assert np.isfinite(fitted.held_out[:100]).all()
    assert np.isnan(fitted.held_out[100:]).all()


@pytest.mark.parametrize(
    "change",
    [
        {"x": np.zeros((60, 2), np.float32)},  # nothing varies
        {"x": np.zeros((60, 0), np.float32), "c": np.zeros((60, 0), np.int32)},  # there is nothing
        {"target": np.zeros(60, np.int64)},  # one class alone
        {"folds": np.zeros(60, np.int64)},  # nothing is left to learn from
        {"weight": np.zeros(60)},
        {"weight": np.eye(60)[0]},
        {"weight": np.full(60, 1e-30)},
        {"x": np.full((60, 2), 1e30, np.float32) * np.linspace(-1, 1, 60, dtype=np.float32)[:, None]},
    ],
)  # fmt: skip
def test_what_cannot_be_learned_from_gives_finite_predictions(change):
    x, c, target, outputs = asked("three", 60, 2, 1)
    x, c = change.get("x", x), change.get("c", c)
    fitted = fit_kernel(
        x, c, change.get("target", target), change.get("folds", np.arange(60) % 3), classification=True, outputs=outputs,
        weight_N=change.get("weight"),
    )  # fmt: skip
    values = fitted.kernel(torch.from_numpy(x), torch.from_numpy(c))
    assert bool(values.isfinite().all())
    assert np.isfinite(fitted.held_out).all()
    assert np.isfinite(fitted.held_out_loss)


def test_a_time_limit_that_is_over_leaves_a_model(monkeypatch):
    monkeypatch.setattr(f, "SEARCH_LANDMARKS", 50)
    fitted, x, c, target = fitted_kernel("binary", time_limit=1e-6)
    assert fitted.landmarks == 50
    assert {bandwidth for bandwidth, _, _ in fitted.history} == {f.BANDWIDTHS[0]}
    assert ((fitted.kernel(x, c)[:, 1] > np.log(0.5)).numpy() == target).mean() > 0.8


def test_with_time_for_all_a_limit_changes_nothing():
    first, *_ = fitted_kernel("binary")
    limited, *_ = fitted_kernel("binary", time_limit=600)
    assert torch.equal(first.kernel.weights, limited.kernel.weights)


def test_what_is_refused():
    with pytest.raises(OptionError, match="landmarks is 0"):
        fitted_kernel(landmarks=0)
    x, c, target, _ = asked("binary", 60)
    with pytest.raises(OptionError, match="fitted in folds, and there are none"):
        fit_kernel(x, c, target, np.full(60, -1), classification=True, outputs=2)


@pytest.mark.parametrize(("rows", "few"), [(200, 500), (1_000, 100)])
def test_noise_is_not_learned(monkeypatch, rows, few):
    """Out-of-fold and test loss of a noise target agree within chance, whatever bandwidth and ridge were chosen."""
    monkeypatch.setattr(f, "SEARCH_LANDMARKS", few)
    gaps = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        x = random.normal(size=(2 * rows, 3)).astype(np.float32)
        c = random.integers(0, 100, size=(2 * rows, 1)).astype(np.int32)
        y = random.integers(0, 2, size=2 * rows)
        fitted = fit_kernel(
            x[:rows], c[:rows], y[:rows], np.arange(rows) % 5, classification=True, outputs=2, seed=seed, landmarks=400
        )  # fmt: skip
        values = fitted.kernel(torch.from_numpy(x[rows:]), torch.from_numpy(c[rows:])).numpy()
        test = -values[np.arange(rows), y[rows:]].mean()
        gaps.append(fitted.held_out_loss - test)
    assert abs(np.mean(gaps)) < 2 * np.std(gaps, ddof=1) / np.sqrt(len(gaps)) + 1e-3
