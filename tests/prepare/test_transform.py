import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn
from sklearn.preprocessing import QuantileTransformer, RobustScaler, StandardScaler

from sightline.contracts import SCALINGS
from sightline.prepare.transform import FARTHEST, QUANTILES, Transform

any_number = st.floats(allow_nan=True, allow_infinity=False, width=64)
columns = hn.arrays(np.float64, st.integers(1, 40), elements=any_number)


def fitted(scaling, values, flags=()):
    """A transform for one column."""
    transform = Transform(scaling, 1, list(flags))
    transform.fit_column(0, values)
    return transform


def apply(transform, values):
    return transform(torch.from_numpy(np.asarray(values, np.float64))[:, None])


@pytest.mark.parametrize("scaling", SCALINGS)
@given(train=columns, later=columns)
def test_any_numbers_become_finite_ones(scaling, train, later):
    out = apply(fitted(scaling, train, flags=[0]), later)
    assert out.shape == (len(later), 2)
    assert out.dtype == torch.float32
    assert torch.isfinite(out).all()
    assert out.abs().max() <= FARTHEST
    assert out[:, 1].tolist() == np.isnan(later).tolist()


@pytest.mark.parametrize("scaling", SCALINGS)
@given(
    train=columns,
    low=any_number.filter(lambda x: x == x),
    high=any_number.filter(lambda x: x == x),
)
def test_a_larger_number_never_becomes_a_smaller_one(scaling, train, low, high):
    low, high = sorted((low, high))
    out = apply(fitted(scaling, train), [low, high])
    assert out[0] <= out[1]


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("rows", [0, 1, 7])
def test_the_shape_depends_on_nothing_in_the_data(scaling, rows):
    transform = Transform(scaling, 3, [2, 0])
    for j in range(3):
        transform.fit_column(j, np.array([1.0, 2.0, np.nan]))
    assert transform(torch.full((rows, 3), torch.nan, dtype=torch.float64)).shape == (rows, 5)


@given(hn.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e9, 1e9)))
def test_minmax_puts_the_training_rows_into_0_to_1(train):
    out = apply(fitted("minmax", train), train)
    assert out.min() >= 0
    assert out.max() <= 1
    if np.ptp(train) > 1e-300:  # less is no spread at all
        assert (out.min(), out.max()) == (0, 1)


@pytest.mark.parametrize(("scaling", "theirs"), [("standard", StandardScaler()), ("robust", None)])
def test_standard_and_robust_are_what_they_say(scaling, theirs):
    train = np.random.default_rng(0).gamma(2.0, size=500)
    out = apply(fitted(scaling, train), train)[:, 0].numpy()
    expected = (theirs or RobustScaler()).fit_transform(train[:, None])[:, 0]
    if scaling == "robust":
        expected = expected / np.sqrt(1 + (expected / 3) ** 2)
        assert np.abs(out).max() < 3
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("rows", [1000, 5000])
def test_quantile_is_as_scikit_learns(rows, ties):
    random = np.random.default_rng(0)
    train = random.exponential(size=rows)
    later = random.exponential(size=300)
    if ties:
        train, later = train.round(1), later.round(1)
    theirs = QuantileTransformer(
        output_distribution="normal", n_quantiles=QUANTILES, subsample=None
    )
    expected = theirs.fit(train[:, None]).transform(later[:, None])[:, 0]
    out = apply(fitted("quantile", train), later)[:, 0].numpy()
    # Lines between scores, not ranks: the same at the knots, apart between them in the tails.
    inside = np.abs(expected) < 1.9
    assert inside.sum() > 250
    np.testing.assert_allclose(out[inside], expected[inside], atol=0.02)


def test_an_outlier_is_bent_and_not_forgotten():
    out = apply(fitted("robust", np.arange(100.0)), [1e3, 1e200, -1e300])[:, 0]
    assert out[0] < out[1]
    assert out[1:].tolist() == pytest.approx([3, -3])


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_column_missing_in_all_training_rows_says_nothing_until_it_is_there(scaling):
    transform = fitted(scaling, np.full(9, np.nan), flags=[0])
    assert apply(transform, [np.nan]).tolist() == [[0.0, 1.0]]
    assert apply(transform, [5.0])[0, 1] == 0


def test_without_scaling_numbers_are_as_they_are():
    out = apply(fitted("none", np.array([1.0, 200.0, 30_000.0, np.nan])), [7.5, -4e5, np.nan, 1e9])
    assert out[:, 0].tolist() == [7.5, -4e5, 200.0, 1e6]  # float32 layers get no larger ones


@pytest.mark.parametrize("scaling", [one for one in SCALINGS if one != "none"])
def test_a_constant_column_is_zero(scaling):
    transform = fitted(scaling, np.full(9, 0.1))
    assert apply(transform, [0.1, np.nan])[:, 0].tolist() == pytest.approx([0, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("scaling", "fill"), [("standard", 4.0), ("minmax", 2.0), ("robust", 2.0), ("none", 2.0)]
)
def test_what_is_missing_gets_the_mean_or_median(scaling, fill):
    transform = fitted(scaling, np.array([1.0, 2.0, 9.0, np.nan]))
    out = apply(transform, [np.nan, fill])[:, 0]
    assert out[0] == out[1]


def test_columns_do_not_touch_each_other():
    train = np.random.default_rng(1).normal(size=(50, 3)) * [1, 100, 1e-5]
    for scaling in SCALINGS:
        together = Transform(scaling, 3, [])
        for j in range(3):
            together.fit_column(j, train[:, j])
        out = together(torch.from_numpy(train))
        for j in range(3):
            alone = apply(fitted(scaling, train[:, j]), train[:, j])
            assert torch.equal(out[:, j], alone[:, 0])


@pytest.mark.parametrize("scaling", SCALINGS)
def test_config_and_buffers_build_the_same_transform(scaling):
    transform = fitted(scaling, np.array([1.0, 4.0, 9.0]), flags=[0])
    again = Transform(**transform.config())
    again.load_state_dict(transform.state_dict())
    values = [0.0, 3.3, np.nan, 100.0]
    assert torch.equal(apply(again, values), apply(transform, values))
