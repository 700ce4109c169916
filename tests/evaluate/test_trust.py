import pytest

from sightline.evaluate.trust import calibration_sentence


def said(before=0.05, after=0.02, perfect=0.03, rows=900, **more):
    return calibration_sentence({
        "source": "out-of-fold predictions of 900 training rows", "part": "test", "rows": rows,
        "parts": [{"name": "network", "share": 1.0}], "temperature": 1.25,
        "before": {"ece": before}, "after": {"ece": after}, "perfect_ece": perfect, **more,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [({}, "nothing here speaks against believing them."),
     ({"after": 0.04}, "believe them with care."),
     ({"perfect": 0.2, "rows": 39}, "so few rows cannot tell whether to believe them."),
     ({"perfect": 0.5, "after": 0.9, "rows": 1}, "so few rows cannot tell whether to believe them.")],
)  # fmt: skip
def test_what_rows_can_tell_of_the_probabilities(numbers, verdict):
    words = said(**numbers)
    assert words.endswith(verdict)
    assert ("On 1 test row the" if numbers.get("rows") == 1 else " test rows the") in words


@pytest.mark.parametrize(
    ("temperature", "what"),
    [(1.3, "softer"), (0.7, "sharper"), (1.001, "hardly other"), (0.99, "hardly other")],
)
def test_what_the_temperature_does(temperature, what):
    assert f"makes probabilities {what}" in said(temperature=temperature)


def test_parts_are_named_where_there_are_several():
    parts = [{"name": "network", "share": 0.6}, {"name": "trees", "share": 0.4}]
    assert said(parts=parts).startswith(
        "Weighed on out-of-fold predictions of 900 training rows: network 60 %, trees 40 %. "
    )
