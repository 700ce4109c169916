"""What a column's values are, in a line that no view has to cut."""

import pytest

import sightline as sl
from sightline.load.summary import LINE
from sightline.views.format import plain


def values_of(values, **options):
    return sl.read({"x": values}, **options).summary()[0]["values"]


LONG = ["Intact Male with a long name", "Neutered Male of another sort", "Spayed Female and so on"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["a"] * 3 + ["b"] * 2, "a 3, b 2 (2 different)"),
        (["a"] * 3 + ["b"] * 2 + ["c"], "a 3, b 2, c 1 (3 different)"),
        (["a"] * 4 + ["b"] * 3 + ["c"] * 2 + ["d", "e"], "a 4, b 3, c 2 and 2 more"),
        (LONG[:1] * 4000 + LONG[1:2] * 3000 + LONG[2:] * 2000, "Intact Male with ... 4,000 and 2 more"),
        (["x" * 100] * 40 + ["y" * 200] * 20, f"{'x' * 17}... 40 and 1 more"),
    ],
)  # fmt: skip
def test_texts_are_counted_and_none_is_cut_in_the_middle_of_a_count(values, said):
    found = values_of(values, kinds={"x": "categorical"})
    assert found == said
    assert plain(found, LINE) == found
    assert "characters" not in found
