"""How one cell is understood, by Python and by DuckDB alike."""

import math

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.load import values as v

# DuckDB alone takes two signs in a row ("+-0").
NUMBERISH = st.text("0123456789.eE+-", min_size=1, max_size=12).filter(lambda t: "+-" not in t)


@settings(max_examples=60, deadline=None)
@given(st.lists(NUMBERISH, min_size=1, max_size=20))
def test_python_and_duckdb_agree_on_what_a_number_is(texts: list[str]) -> None:
    for text in texts:
        given_ = duckdb.execute("SELECT try_cast(? AS DOUBLE)", [text]).fetchone()
        assert given_ is not None
        theirs = given_[0]
        theirs = v.BAD if theirs is None or math.isinf(theirs) else theirs
        assert v.parse_number(text, ()) == theirs, text


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
