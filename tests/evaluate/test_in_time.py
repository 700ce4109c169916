import math

import pytest

from sightline.evaluate.in_time import CLOSING_SECONDS, InTime


def test_without_a_limit_everything_is_allowed():
    in_time = InTime()
    assert not in_time.is_limited()
    assert in_time.allows("curves", 1e9)
    assert in_time.at_most("rows", 50, 1e9) == 50
    assert in_time.body() is None


def test_the_report_itself_always_has_its_time():
    assert InTime(lambda: CLOSING_SECONDS + 1.0).allows("curves", 0.99)
    assert not InTime(lambda: CLOSING_SECONDS + 1.0).allows("curves", 1.01)
    assert not InTime(lambda: -3.0).allows("curves", 0.01)


@pytest.mark.parametrize(("left", "count"), [(10.0, 5), (3.0, 3), (1.0, 1), (0.5, 0), (-9.0, 0)])
def test_as_many_as_there_is_time_for(left, count):
    in_time = InTime(lambda: CLOSING_SECONDS + left + 1e-9)
    assert in_time.at_most("importance", 5, 1.0) == count
    assert (in_time.left_out, in_time.shortened) == (
        [] if count else ["importance"], {"importance": count} if 0 < count < 5 else {},
    )  # fmt: skip


def test_a_replay_does_as_the_first_run_did_whatever_the_clock_says():
    first = {"left_out": ["curves"], "shortened": {"rows": 7}, "said": "."}
    in_time = InTime(lambda: math.inf, first)
    assert not in_time.is_limited()
    assert not in_time.allows("curves", 0.0)
    assert in_time.at_most("rows", 50, 1.0) == 7
    assert InTime(lambda: -1.0, {}).allows("curves", 9.0)
    body = in_time.body()
    assert (body["left_out"], body["shortened"]) == (["curves"], {"rows": 7})
    assert (
        body["said"]
        == "The time limit left no time for curves; shortened: explained rows (7 rows)."
    )


def test_one_repeat_is_said_in_the_singular():
    in_time = InTime(lambda: CLOSING_SECONDS + 1.5)
    in_time.at_most("importance", 5, 1.0)
    assert in_time.body()["said"] == "The time limit shortened importance (1 shuffle)."
