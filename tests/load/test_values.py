"""How one cell is understood, by Python and by Arrow's CSV reader alike."""

import io
import math

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sightline.load import values as v
from sightline.load.values import parse_numbers

NUMBERISH = st.text("0123456789.eE+-_naNif ", min_size=1, max_size=12)


def by_arrow(text: str) -> float:
    """What the fast path makes of a cell: Arrow's CSV reader, or, where that refuses, `BAD`."""
    options = pc.ConvertOptions(column_types={"a": pa.float64()}, null_values=[""])
    try:
        table = pc.read_csv(io.BytesIO(f"a,b\n{text},x\n".encode()), convert_options=options)
    except pa.ArrowInvalid:
        return v.BAD
    number = table["a"][0].as_py()
    return math.nan if number is None else v.BAD if math.isinf(number) else number


@settings(max_examples=300, deadline=None)
@given(NUMBERISH)
@example("1_000")
@example("+-0")
@example("-nan")
@example("1e999")
@example("infinity")
@example("5.")
@example("0x1F")
@example(".")
@example(" 1 ")
def test_all_readers_agree_on_what_a_number_is(text: str) -> None:
    python = v.parse_number(text, ())
    arrow, tolerant = by_arrow(text), parse_numbers(pa.chunked_array([[text]]), ())[0]
    if text.strip():  # Arrow refuses a blank cell, which sends the column to the tolerant reader
        assert np.array_equal(python, arrow, equal_nan=True), text
    tolerant = v.BAD if np.isinf(tolerant) else tolerant
    assert np.array_equal(python, tolerant, equal_nan=True), text


@pytest.mark.parametrize(
    ("text", "number"),
    [(" 1e3 ", 1000.0), (".5", 0.5), ("+7", 7.0), ("12a", v.BAD), ("1e999", v.BAD), ("١٢", v.BAD),
     ("inf", v.BAD), ("0x10", v.BAD), ("1,5", v.BAD)],
)  # fmt: skip
def test_numbers(text: str, number: float) -> None:
    assert v.parse_number(text, ()) == number


@pytest.mark.parametrize("text", ["", "   ", "?", " ? ", "-999", "nan"])
def test_missing_numbers(text: str) -> None:
    assert math.isnan(v.parse_number(text, ("?", "-999")))


@pytest.mark.parametrize("form", v.DATE_FORMATS)
@given(moment=st.datetimes().map(lambda m: m.replace(second=0, microsecond=0)))
@settings(max_examples=20, deadline=None)
def test_dates_come_back_from_every_format(form: str, moment) -> None:
    if "%H" not in form:
        moment = moment.replace(hour=0, minute=0)
    text = moment.isoformat() if form == "iso" else moment.strftime(form)
    if moment.year < 1000:  # strftime does not pad years
        return
    expected = (moment.replace(tzinfo=v.EPOCH.tzinfo) - v.EPOCH) // v.MICROSECOND
    assert v.parse_date(text, form) == expected


def test_offsets_are_subtracted_and_nonsense_refused() -> None:
    assert v.parse_date("1970-01-01T02:00:00+02:00", "iso") == 0
    for text in ("2020-13-01", "2020", "20200101", "", "0001-01-01T00:00:00+23:00x"):
        assert v.parse_date(text, "iso") == v.BAD_DATE


def test_day_first_needs_a_day_above_twelve() -> None:
    assert v.find_date_format(["01/02/2020", "03/04/2020"], 0.99) == "%m/%d/%Y"
    assert v.find_date_format(["01/02/2020", "31/04/2020", "30/04/2020"], 0.99) is None
    assert v.find_date_format(["01/02/2020", "30/04/2020"], 0.99) == "%d/%m/%Y"
    assert v.find_date_format([], 0.99) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(7.0, "7"), (0.5, "0.5"), (True, "true"), (False, "false"), (3, "3"), ("", None),
     (None, None), (math.nan, None), (1e300, "1e+300")],
)  # fmt: skip
def test_one_value_has_one_name(value: object, text: str | None) -> None:
    assert v.to_text(value) == text


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=5), max_size=4))
def test_as_dictionary_keeps_every_text(chunks: list[list[str | None]]) -> None:
    data = v.as_dictionary(pa.chunked_array(chunks, pa.string()))
    assert data.to_pylist() == [text or None for chunk in chunks for text in chunk]
    assert len(set(data.dictionary.to_pylist())) == len(data.dictionary)


def test_words_that_become_one_text_share_a_code() -> None:
    data = v.as_dictionary(pa.chunked_array([[1.0, 2.5, None, 1.0]]))
    assert data.to_pylist() == ["1", "2.5", None, "1"]
    assert v.map_words(data, len, np.int64, -1).tolist() == [1, 3, -1, 1]
