"""How a table writes its numbers: each form, the decision between two readings, and one table in many ways."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.contracts import NumberFormat
from sightline.errors import DataError, DataWarning, OptionError
from sightline.load.numbers import (
    Words,
    look_at,
    parse_formatted,
    reading_of,
    take_apart,
)
from sightline.load.values import BAD

NBSP, THIN, MINUS = "\u00a0", "\u202f", "\u2212"
GERMAN, ENGLISH = NumberFormat(",", ".", "€", "()"), NumberFormat(".", ",", "$", "()")


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def column(path, name="x", **options):
    """A column's numbers, and how they are written."""
    table = sl.read(path, **options)
    assert table.schema[name].kind == "numeric", table.schema[name].reason
    written = table.schema[name].number_format
    return table.numbers(name).tolist(), written and written.example


# ------------------------------------------------------------- one text


@pytest.mark.parametrize(
    ("text", "reading"),
    [("950", "both"), ("0950", "both"), ("1 234", "both"), ("1'234", "both"), ("1’234", "both"), ("1e5", "both"),
     (f"1{NBSP}234{THIN}567", "both"), ("$5", "both"), ("5 %", "both"), ("0.5", "."), ("12.25", "."), (".5", "."),
     ("1,234.5", "."), ("1,234,567", "."), ("1'234.50", "."), ("1234.567", "."), ("0.123", "."), ("5.", "."),
     ("1.5e-3", "."), ("0,5", ","), ("12,25", ","), ("1.234,5", ","), ("1.234.567", ","), ("1 234,567", ","),
     ("1234,567", ","), ("0,123", ","), ("1,5E+03", ","), ("1.234", "point?"), ("-12.345", "point?"),
     ("1.234 €", "point?"), ("1,234", "comma?"), ("CHF 12,345", "comma?")],
)  # fmt: skip
def test_with_which_decimal_sign_a_text_is_a_number(text, reading):
    assert reading_of(take_apart(text)) == reading


@pytest.mark.parametrize(
    "text",
    ["", "a", "1.2.3", "1,2,3", "1.23.456", "12 34", "1 2345", "0.123.456", "0 123", "1_000", "--3", "(-3)", "(3",
     "3)", "- (3)", "5-3", "1-2", "5 kg", "ABC 5", "5 EURO", "$5 €", "% 5 %", "1'23", "1,234.567,8", "1.234,567.8",
     "31.12.2020", "12:30", "192.168.0.12", "+49 30 1234", "1/2", "½", "١٢", "0x1F", "inf", "3-+", "1e", "e5"],
)  # fmt: skip
def test_texts_that_are_no_numbers(text):
    assert reading_of(take_apart(text)) == "none"


@pytest.mark.parametrize(
    ("text", "number", "how"),
    [("1.234,5", 1234.5, GERMAN), ("-1.234,5 €", -1234.5, GERMAN), ("€ -1.234,5", -1234.5, GERMAN),
     ("-€ 7", -7.0, GERMAN), ("7,5-", -7.5, GERMAN), ("7,5 €-", -7.5, GERMAN), ("(7,5 €)", -7.5, GERMAN),
     ("(€ 7,5)", -7.5, GERMAN), (f"{MINUS}7,5", -7.5, GERMAN), ("+7", 7.0, GERMAN), ("1 234,5", 1234.5, GERMAN),
     ("1.234.567", 1234567.0, GERMAN), ("1,5e3", 1500.0, GERMAN), ("1.5", BAD, GERMAN), ("7 $", BAD, GERMAN),
     ("x", BAD, GERMAN), ("1e999", BAD, GERMAN), ("($1,234.50)", -1234.5, ENGLISH), ("USD 3", BAD, ENGLISH),
     ("12 %", 12.0, NumberFormat(".", "", "%")), ("12", 12.0, NumberFormat(".", "", "%")),
     ("(3)", BAD, NumberFormat(",")), ("3-", BAD, NumberFormat(","))],
)  # fmt: skip
def test_numbers_in_a_format(text, number, how):
    assert parse_formatted(text, how, ()) == number


def test_missing_numbers_in_a_format():
    values = [
        parse_formatted(text, GERMAN, ("?", "k.A.")) for text in ("", " ", "?", "k.A.", "NaN")
    ]
    assert all(math.isnan(value) for value in values)


numbers = st.integers(-(10**9), 10**9).map(lambda n: n / 100)


def written(value, decimal, thousands, minus="-", before="", after=""):
    text = f"{abs(value):,.2f}".replace(",", "T").replace(".", decimal).replace("T", thousands)
    sign = "-" if value < 0 else ""
    text = f"{before}{text}{after}"
    if not sign:
        return text
    return {"()": f"({text})", "behind": f"{text}-"}.get(minus, f"{minus}{text}")


@settings(max_examples=200, deadline=None)
@given(
    numbers,
    st.sampled_from([(",", "."), (",", " "), (",", NBSP), (",", THIN), (",", "'"), (",", ""), (".", ","),
                     (".", "'"), (".", "’"), (".", " "), (".", "")]),
    st.sampled_from(["-", MINUS, "()", "behind"]),
    st.sampled_from([("", ""), ("€", ""), ("€ ", ""), ("", " €"), ("", "€")]),
)  # fmt: skip
@example(-1234.5, (",", "."), "()", ("", " €"))
def test_every_way_to_write_a_number_is_read_back(value, signs, minus, unit):
    text = written(value, *signs, minus, *unit)
    how = NumberFormat(signs[0], "", "€", "()")
    assert parse_formatted(text, how, ()) == pytest.approx(value, abs=1e-9)


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789.,' -+()€%eE$", max_size=14))
def test_no_text_of_digits_and_signs_breaks_the_reader(text):
    reading = reading_of(take_apart(text))
    for decimal in (".", ","):
        number = parse_formatted(text, NumberFormat(decimal, "", "€", "()"), ())
        if text.strip() and reading in ("none", {".": ",", ",": "."}[decimal]):
            assert number == BAD
        assert not math.isnan(number) or not text.strip()
    counted = look_at(Words.of([text]), ())  # the fast count agrees with the careful one
    if text.strip():
        assert dict(counted.rows) == {reading: 1}


# ------------------------------------------------------------- one column decides


def test_a_european_export(tmp_path):
    lines = ["Gewicht kg;Umsatz €;Stadt;Preis °"]
    values = [(71.5, 1234.5), (60.25, 98765.25), (8.0, 950.0)] * 10
    for weight, sales in values:
        cells = [written(weight, ",", ""), written(sales, ",", "."), "Köln", "1,5"]
        lines.append(";".join(cells))
    for encoding, name in (
        ("utf-8-sig", "bom.csv"),
        ("cp1252", "ansi.csv"),
        ("utf-16", "wide.csv"),
    ):
        path = write(tmp_path / name, "\r\n".join(lines) + "\r\n", encoding)
        table = sl.read(path, encoding=None if name == "bom.csv" else encoding)
        assert list(table.columns) == ["Gewicht kg", "Umsatz €", "Stadt", "Preis °"]
        assert table.numbers("Gewicht kg").tolist() == [weight for weight, _ in values]
        assert table.numbers("Umsatz €").tolist() == [sales for _, sales in values]
        assert table.schema["Umsatz €"].reason == "numbers, written as 1.234,5"
        assert table.schema["Gewicht kg"].reason == "numbers, written as 1234,5"


@pytest.mark.parametrize(
    ("cells", "values", "how"),
    [
        (["1 234,50", f"1{NBSP}234,50", f"1{THIN}234,50"], [1234.5] * 3, "1 234,5"),
        (["1'234.50", "7", "12.5"], [1234.5, 7, 12.5], "1'234.5"),
        (["$1,234.50", "$7", "-$3.25"], [1234.5, 7, -3.25], "1,234.5 $"),
        (["EUR 12", "EUR 7.5", "EUR 3"], [12, 7.5, 3], "1234.5 EUR"),
        (["12.5%", "7 %", "0.1%"], [12.5, 7, 0.1], "1234.5 %"),
        (["(12.5)", "3", "(1)"], [-12.5, 3, -1], "(1234.5)"),
        (["12.5-", "3", "1-"], [-12.5, 3, -1], "1234.5-"),
        ([f"{MINUS}12.5", "3", f"{MINUS}1"], [-12.5, 3, -1], None),
        (["1,234,567", "950", "12"], [1234567, 950, 12], "1,234.5"),
        (
            ["7.25", "1,234.5", "12.75"],
            [7.25, 1234.5, 12.75],
            "1,234.5",
        ),  # grouped, but not at first
        (["7,25", "1.234,5", "12,75"], [7.25, 1234.5, 12.75], "1.234,5"),
        (["1.234.567", "950", "12"], [1234567, 950, 12], "1.234,5"),
        (["1,5E+03", "2,5", "7"], [1500, 2.5, 7], "1234,5"),
        (["0,5", "1,5", "7"], [0.5, 1.5, 7], "1234,5"),
    ],
)
def test_a_column_shows_how_it_writes_numbers(tmp_path, cells, values, how):
    cells, values = cells * 10, values * 10
    assert column({"x": cells}) == (values, how)
    path = write(tmp_path / "t.tsv", "x\ty\n" + "".join(f"{cell}\tb\n" for cell in cells))
    assert column(path) == (values, how)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "one.csv", "t.jsonl"])
def test_three_decimals_stay_decimals_where_nothing_speaks_against_them(tmp_path, name):
    cells = ["1.234", "12.345", "7", "123.456"] * 6
    separator = {"t.tsv": "\t", "t.txt": "|"}.get(name, ",")
    text = f"x{separator}y\n" + "".join(f"{cell}{separator}b\n" for cell in cells)
    if name == "one.csv":
        text = "x\n" + "\n".join(cells) + "\n"
    if name == "t.jsonl":
        text = "".join(f'{{"x": "{cell}", "y": "b"}}\n' for cell in cells)
    assert column(write(tmp_path / name, text)) == ([float(cell) for cell in cells], None)


def table_of(columns, separator=";"):
    rows = zip(*columns.values(), strict=True)
    return separator.join(columns) + "\n" + "".join(separator.join(row) + "\n" for row in rows)


POINTS = ["950", "1.234", "43.484"] * 8
COMMAS = ["950", "1,234", "43,484"] * 8
THOUSANDS, DECIMALS = [950.0, 1234.0, 43484.0] * 8, [950.0, 1.234, 43.484] * 8


@pytest.mark.parametrize(
    ("columns", "separator", "expected"),
    [
        ({"x": POINTS, "q": ["0,5"] * 24}, ";", THOUSANDS),  # a decimal comma in another column
        ({"x": POINTS, "q": ["0,5"] * 24}, "\t", THOUSANDS),
        ({"x": POINTS, "q": ["1.234.567"] * 24}, "\t", THOUSANDS),  # a value with two points
        ({"x": POINTS, "q": ["0.5"] * 24}, ";", DECIMALS),  # a decimal point in another column
        ({"x": POINTS, "q": ["1'234.50"] * 24}, "\t", DECIMALS),
        ({"x": POINTS, "q": ["a"] * 24}, "\t", DECIMALS),  # nothing against the point
        ({"x": POINTS[1:3] * 12, "q": ["a"] * 24}, ";", DECIMALS[1:3] * 12),  # no whole numbers
        ({"x": COMMAS, "q": ["0.5"] * 24}, ";", THOUSANDS),
        ({"x": COMMAS, "q": ["0,5"] * 24}, ";", DECIMALS),
        ({"x": [f'"{cell}"' for cell in COMMAS], "q": ["a"] * 24}, ",", THOUSANDS),
    ],
)
def test_other_columns_decide(tmp_path, columns, separator, expected):
    path = write(tmp_path / "t.csv", table_of(columns, separator))
    assert column(path)[0] == expected


@pytest.mark.parametrize(
    ("columns", "separator"),
    [
        ({"x": POINTS, "q": ["a"] * 24}, ";"),
        ({"x": POINTS, "q": ["0,5"] * 24, "r": ["0.5"] * 24}, ";"),
        ({"x": POINTS, "q": ["1'234"] * 24}, "\t"),
        ({"x": COMMAS, "q": ["a"] * 24}, ";"),
        ({"x": COMMAS, "q": ["a"] * 24}, "\t"),
    ],
)
def test_what_nothing_decides_is_refused_with_both_readings(tmp_path, columns, separator):
    path = write(tmp_path / "t.csv", table_of(columns, separator))
    with pytest.raises(DataError) as caught:
        sl.read(path)
    text = str(caught.value)
    assert "column 'x'" in text
    assert "may mean 1.234 or 1234" in text or "may mean 1234 or 1.234" in text
    assert "--decimal ." in text
    assert "--decimal ," in text
    point, comma = (
        (DECIMALS, THOUSANDS) if columns["x"] is POINTS else (THOUSANDS, DECIMALS)
    )  # fmt: skip
    if "r" not in columns:
        assert column(path, decimal=".")[0] == point
        if "1'234" not in columns["q"]:
            assert column(path, thousands=",")[0] == point
    if "0.5" not in columns.get("r", []):
        assert column(path, decimal=",")[0] == comma
        assert column(path, thousands=".")[0] == comma
    assert sl.read(path, kinds={"x": "categorical"}).schema["x"].kind == "categorical"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"decimal": ";"}, "decimal is ';'"),
        ({"decimal": ""}, "decimal is ''"),
        ({"thousands": "_"}, "thousands is '_'"),
        ({"decimal": ",", "thousands": ","}, "decimal and thousands are both ','"),
    ],
)
def test_signs_are_checked(tmp_path, options, said):
    path = write(tmp_path / "t.csv", "x,y\n1.5,a\n")
    with pytest.raises(OptionError, match=said):
        sl.read(path, **options)


@pytest.mark.parametrize("options", [{"decimal": ","}, {"thousands": "."}])
def test_a_wrong_sign_is_refused_with_the_value(tmp_path, options):
    path = write(tmp_path / "t.csv", "x;y\n" + "1.5;a\n2.25;b\n" * 20)
    with pytest.raises(DataError, match=r"column 'x': '1\.5' is no number with ',' as the decimal"):
        sl.read(path, **options)
    path = write(tmp_path / "u.csv", "x;y\n" + "1,5;a\n2,25;b\n" * 20)
    with pytest.raises(DataError, match=r"column 'x': '1,5' is no number with '\.' as the decimal"):
        sl.read(path, decimal=".")


# ------------------------------------------------------------- what is no number, and bad rows


def test_a_bad_row_among_formatted_numbers_is_named(tmp_path):
    cells = [f"{n},5" for n in range(300)]
    cells[7] = "twelve"
    path = write(tmp_path / "t.csv", table_of({"x": cells, "y": ["a"] * 300}))
    with pytest.raises(
        DataError, match=r"t\.csv, line 9, column 'x': 'twelve' is not a finite number"
    ):
        sl.read(path)
    table = sl.read(path, on_bad_rows="skip")
    assert table.rows == 299
    assert table.numbers("x")[7] == 8.5


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([f"{n},5" for n in range(30)] + [f"{n}.5" for n in range(30)], "a point and that of"),
        (
            [f"{n} €" for n in range(30)] + [f"{n} $" for n in range(30)],
            "some are in € and others in",
        ),
        (
            [f"{n} %" for n in range(30)] + [f"0.{n}" for n in range(30, 60)],
            "only some are per cent",
        ),
        (
            [f"{n}.{n}" for n in range(50)] + [f"n{n}" for n in range(10)],
            "some are not, such as 'n0'",
        ),
    ],
)
def test_what_looks_like_numbers_is_not_thrown_away_in_silence(cells, said):
    with pytest.warns(DataWarning, match="'x' is (not used|used as text): .*" + said):
        assert sl.read({"x": cells}).schema["x"].kind != "numeric"


@pytest.mark.parametrize(
    "cells",
    [["192.168.0.12", "192.168.0.13"], ["+49 30 1234", "+49 30 1235"], ["732 829 320", "532 829 321"],
     ["01234", "04711"], ["2020-01-31", "2021-02-28"], ["12:30", "7:15"], ["AB 12", "AB 13"], ["1,2,3", "2,3"]],
)  # fmt: skip
def test_what_are_no_numbers_stay_what_they_were(cells):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = sl.read({"x": cells * 15})
    assert table.schema["x"].kind in ("categorical", "datetime")


def test_numbers_of_many_rows_are_decided_by_all_of_them(tmp_path):
    """The first rows are plain; a value with a decimal comma comes later."""
    cells = [str(n % 900) for n in range(3000)] + ["0,5"] * 400 + ["1.234"] * 100
    path = write(tmp_path / "t.csv", table_of({"x": cells, "y": ["a"] * 3500}))
    values, how = column(path)
    assert how == "1.234,5"
    assert values[-1] == 1234
    assert values[3000] == 0.5


def test_rows_to_predict_are_read_as_the_training_rows(tmp_path):
    rng = np.random.default_rng(0)
    sales = rng.uniform(100, 90_000, 300).round(2)
    city = rng.choice(["Ulm", "Bonn"], 300)
    kauf = np.where(sales > 45_000, "ja", "nein")

    def text(decimal, thousands, unit=""):
        rows = zip(sales, city, kauf, strict=True)
        cells = (f"{written(v, decimal, thousands)}{unit};{c};{k}\n" for v, c, k in rows)
        return "umsatz;stadt;kauf\n" + "".join(cells)

    path = write(tmp_path / "de.csv", text(",", ".", " €"))
    run = sl.fit(path, "kauf", quality="fast", quiet=True, report=False, run=tmp_path / "r")
    model = sl.Model.load(run.folder / "model.sightline")
    expected = model.predict_proba(path)
    assert run.metrics["accuracy"] > 0.9
    plain = {"umsatz": sales.tolist(), "stadt": city.tolist()}
    assert (model.predict_proba(plain) == expected).all()
    assert (model.predict_proba(write(tmp_path / "fr.csv", text(",", NBSP))) == expected).all()
    bad = model.predictions(write(tmp_path / "en.csv", text(".", ","))).bad
    assert len(bad) == 300
    assert "is not a finite number" in bad[0].error
    row = {"umsatz": "1.234,50 €", "stadt": "Ulm"}
    assert model.predict(row) == model.predict({"umsatz": 1234.5, "stadt": "Ulm"})
    assert model.encoder.schema["umsatz"].number_format == NumberFormat(",", ".", "€")
