import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.views.format import brief, plain


@given(st.text(max_size=200), st.integers(1, 100))
def test_plain_is_one_printable_line(text, width):
    said = plain(text, width)
    assert said.isprintable()
    if text.isprintable() and len(text) <= width:
        assert said == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0.000"), (0.0004, "4.0e-04"), (-0.25, "-0.250"), (999.9999, "1000.000"),
     (1234.5, "1,234"), ("Infinity", "inf"), ("-Infinity", "-inf"), (True, "1.000")],
)  # fmt: skip
def test_brief(value, text):
    assert brief(value) == text
