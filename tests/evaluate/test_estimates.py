"""Estimates of metrics, their intervals, and differences of groups."""

import math

import numpy as np
import pytest
from scipy.stats import t

from sightline.evaluate.estimates import Estimate, area, balanced_accuracy, mean_loss


def test_the_interval_of_a_mean_is_students_of_its_logarithm():
    losses = np.random.default_rng(0).uniform(1, 2, 50)  # light tails: 49 degrees of freedom
    found = mean_loss(losses, root=False)
    reach = t.isf(0.025, 49) * losses.std(ddof=1) / math.sqrt(50) / losses.mean()
    assert found.interval == pytest.approx(
        (losses.mean() * math.exp(-reach), losses.mean() * math.exp(reach))
    )
    rooted = mean_loss(losses, root=True)
    assert rooted.interval == pytest.approx([end**0.5 for end in found.interval])


def test_heavy_tails_make_the_interval_wider():
    light, heavy = np.linspace(0.5, 1.5, 100), np.ones(100)
    heavy[0] = 1 + math.sqrt(((light - 1) ** 2).sum() * 100 / 99)
    heavy += 1 - heavy.mean()
    assert heavy.std() == pytest.approx(light.std(), rel=1e-6)
    ends = [mean_loss(losses, root=False).interval for losses in (light, heavy)]
    assert ends[1][1] > ends[0][1]


@pytest.mark.parametrize("losses", [[], [1.0], [0.0, 0.0], [np.inf, 1.0]])
def test_losses_without_an_interval(losses):
    assert not mean_loss(np.array(losses), root=False).known


@pytest.mark.parametrize("scale", [1e-300, 1e-12, 1e250])
def test_losses_of_any_size(scale):
    usual = mean_loss(np.array([1.0, 2.0, 3.0] * 5), root=False)
    found = mean_loss(np.array([1.0, 2.0, 3.0] * 5) * scale, root=False)
    assert found.interval == pytest.approx([end * scale for end in usual.interval], rel=1e-6)


def test_equal_losses_are_certain_and_their_difference_is_no_evidence():
    one, other = (mean_loss(np.full(20, value), root=False) for value in (1.0, 2.0))
    assert one.interval == (1.0, 1.0)
    assert one.difference(other) == (-1.0, -1.0, -1.0)
    assert one.chance(other) == 1.0


def test_the_difference_is_that_of_welch_on_the_scale_of_logarithms():
    random = np.random.default_rng(0)
    a, b = random.uniform(1, 2, 40), random.uniform(1, 3, 25)
    one, other = mean_loss(a, root=False), mean_loss(b, root=False)
    parts = [losses.var(ddof=1) / len(losses) / losses.mean() ** 2 for losses in (a, b)]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 39 + parts[1] ** 2 / 24)
    apart = (math.log(a.mean()) - math.log(b.mean())) / math.sqrt(sum(parts))
    assert one.chance(other) == pytest.approx(2 * t.sf(abs(apart), freedom))
    value, low, high = one.difference(other)
    assert value == pytest.approx(a.mean() - b.mean())
    assert low == pytest.approx(
        value - math.hypot(one.value - one.interval[0], other.interval[1] - other.value)
    )
    assert low < value < high
    assert other.difference(one) == pytest.approx((-value, -high, -low))


def test_shares_stay_between_zero_and_one():
    for right in (np.ones(12, bool), np.zeros(12, bool), np.arange(12) > 0):
        found = balanced_accuracy(right, np.repeat([0, 1], 6))
        low, high = found.interval
        assert 0 <= low <= found.value <= high <= 1
        assert low < high
    assert math.isnan(balanced_accuracy(np.zeros(0, bool), np.zeros(0, np.int64)).value)


@pytest.mark.parametrize("score", [np.arange(20.0), -np.arange(20.0), np.zeros(20)])
def test_areas_of_perfect_and_of_constant_scores_are_not_certain(score):
    found = area(score, np.arange(20) >= 10)
    low, high = found.interval
    assert 0 <= low <= found.value <= high <= 1
    assert high - low > 0.2


def test_an_area_takes_two_rows_of_each_class():
    assert math.isnan(area(np.arange(5.0), np.zeros(5, bool)).value)
    one = area(np.arange(5.0), np.arange(5) == 4)
    assert one.value == 1.0
    assert not one.known
    assert Estimate(0.5).known is False


def test_equal_scores_count_half():
    assert area(np.array([1.0, 1.0, 0.0, 1.0]), np.array([True, True, False, False])).value == 0.75
