"""Where a text file's header is, and which sign separates its cells."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import DataError, OptionError
from sightline.load.layout import find_layout, footer

ROWS = [(f"{60 + n}.5", f"{160 + n}.25", "xy"[n % 2]) for n in range(30)]


def write(path, text):
    path.write_text(text, encoding="utf-8", newline="")
    return path


def rows(separator, end="", decimal="."):
    return "".join(separator.join(cell.replace(".", decimal) for cell in row) + end + "\n" for row in ROWS)  # fmt: skip


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_names_may_hold_other_separators(tmp_path, separator, decimal):
    header = separator.join(("Weight, kg", "Height, cm", "Class")) + "\n"
    table = sl.read(write(tmp_path / "t.csv", header + rows(separator, decimal=decimal)))
    assert list(table.columns) == ["Weight, kg", "Height, cm", "Class"]
    assert table.numbers("Weight, kg")[:2].tolist() == [60.5, 61.5]
    assert table.said == ()


def test_texts_may_hold_other_separators(tmp_path):
    text = "note,kind\n" + "".join(f'"men\'s; boots | {n} high",{"xy"[n % 2]}\n' for n in range(30))
    assert list(sl.read(write(tmp_path / "t.csv", text)).columns) == ["note", "kind"]
    one = "email\n" + "".join(f"u{n % 9}@mail.com\n" for n in range(30))
    assert list(sl.read(write(tmp_path / "one.csv", one)).columns) == ["email"]


@pytest.mark.parametrize("first", ["sep=;\n", '"sep=;"\r\n', "\ufeffsep=;\n", "SEP=;\n"])
def test_the_first_line_may_name_the_separator(tmp_path, first):
    text = first + "a, b;c\n" + "".join(f"{n},5;x\n" for n in range(20))
    table = sl.read(write(tmp_path / "t.csv", text))
    assert list(table.columns) == ["a, b", "c"]
    assert table.numbers("a, b")[0] == 0.5


@pytest.mark.parametrize(
    ("above", "line"),
    [("Sales report 2024\n\n", 3), ("Sales report 2024,,\n,,\n", 3), ('"Report,\nof 2024"\n', 3),
     ("Report\nby ERP\n2024-05-01\n\n", 5)],
)  # fmt: skip
def test_a_title_above_the_header(tmp_path, above, line):
    path = write(tmp_path / "t.csv", above + "weight,height,class\n" + rows(","))
    table = sl.read(path)
    assert list(table.columns) == ["weight", "height", "class"]
    assert table.rows == 30
    assert table.said == (f"the header is line {line}; the lines above it are a title",)
    assert sl.read(path, header=line).said == ()
    assert table.locate(2, "weight") == (f"{path}, line {line + 3}", "62.5")
    broken = path.read_text().replace("62.5", "heavy")
    with pytest.raises(DataError, match=f"line {line + 3}, column 'weight': 'heavy'"):
        sl.read(write(path, broken), kinds={"weight": "numeric"})


def test_a_header_that_is_chosen(tmp_path):
    path = write(tmp_path / "t.csv", "a,b\nunit kg,unit cm\nw,h\n" + "1.5,2.5\n" * 20)
    assert list(sl.read(path, header=3).columns) == ["w", "h"]
    assert sl.read(path, header=3).schema["w"].kind == "numeric"


@pytest.mark.parametrize("header", [0, -1, 1.5, "2", True, 99, 2])
def test_a_header_that_is_not_there(tmp_path, header):
    path = write(tmp_path / "t.csv", "a,b\n\n" + "1.5,2.5\n" * 20)
    with pytest.raises(OptionError, match=r"header is .*[Gg]ive"):
        sl.read(path, header=header)


@pytest.mark.parametrize(
    "text", [",a\nx,1\ny,2\nz,3\n", "a,b\n1,2\n3,4\n5,6\n", "a\n1\n2\n3\n", "a,b\n"]
)
def test_files_without_a_title_are_left_alone(text):
    layout = find_layout(text.splitlines(keepends=True))
    assert (layout.skip, layout.notes) == (0, ())
    assert list(layout.header) == text.split("\n")[0].split(",")


def test_every_row_ends_with_a_separator(tmp_path):
    path = write(tmp_path / "t.csv", "w,h,class\n" + rows(",", end=","))
    table = sl.read(path)
    assert (list(table.columns), table.rows) == (["w", "h", "class"], 30)
    assert table.numbers("w")[0] == 60.5
    model_rows = sl.read(write(tmp_path / "both.csv", "w,h,class,\n" + rows(",", end=",")))
    assert model_rows.schema["column_4"].role == "ignored"
    head = sl.read(write(tmp_path / "head.csv", "w,h,class,\n" + rows(",")))
    assert list(head.columns) == ["w", "h", "class"]
    path.write_text(path.read_text() + "1.5,2.5,x,more\n")
    with pytest.raises(DataError, match=r"t\.csv, line 32: 4 cells where the header has 3"):
        sl.read(path)
    assert sl.read(path, on_bad_rows="skip").rows == 30


def test_all_rows_left_out_is_said(tmp_path):
    path = write(tmp_path / "t.csv", "a,b\n" + "1,2,3\n" * 20)
    with pytest.raises(DataError, match=r"No row of .* can be read: all 20 were left out"):
        sl.read(path, on_bad_rows="skip")


@pytest.mark.parametrize(
    ("end", "text"),
    [("Total,91,3.5\n", "'Total'"), ("Summe,,\n,,\n", "'Summe'"), ("Source: ERP export,,\n", "'Source: ERP export'")],
)  # fmt: skip
def test_totals_and_remarks_below_are_said(tmp_path, end, text):
    lines = "".join(f"{'NS'[n % 2]},{n},{n}.5\n" for n in range(30))
    path = write(tmp_path / "t.csv", "region,units,sales\n" + lines + end)
    (said,) = sl.read(path).said
    assert text in said
    assert sl.read(write(path, "region,units,sales\n" + lines)).said == ()


def test_footer_of_usual_rows():
    assert footer(["North", "3", "4.5"]) is None
    assert footer(["", "", ""]) is None
    assert footer(["Total"]) is None  # a column of one text


names = st.text("abcdefgh, ;|'%°", min_size=1, max_size=8).filter(
    lambda name: name.strip(" ,;|'%°")
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(names, min_size=2, max_size=5, unique=True), st.sampled_from(",;\t|"), st.booleans()
)
def test_a_written_header_is_read_back(header, separator, trailing):
    def row(cells):
        quoted = [f'"{cell}"' if set(cell) & set(",;|'") else cell for cell in cells]
        return separator.join(quoted)

    body = [
        row([f"{n}{j}" for j in range(len(header))]) + separator * trailing for n in range(1, 12)
    ]
    layout = find_layout([line + "\n" for line in (row(header), *body)])
    assert (layout.delimiter, list(layout.header)) == (separator, header)
    assert (layout.skip, layout.trailing) == (0, trailing)
