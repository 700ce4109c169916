import gzip
import io
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sightline as sl
from sightline.errors import UserError
from sightline.predict.output import PredictionFile, prediction_table, write_table


def test_an_empty_set_is_told_from_a_row_without_a_prediction(penguins, tmp_path):
    run = sl.fit(
        penguins, target="species", quality="fast", quiet=True, report=False, run=tmp_path / "r"
    )
    row = sl.read(penguins).row(3)
    data = {name: [value, value] for name, value in row.items() if name != "species"}
    data["body_mass_g"] = [3450, "heavy"]
    for alpha in (0.01, 0.9):
        found = run.model.predictions(data)
        table = prediction_table(run.model, found, (), alpha)
        sets = run.model.sets(found.values, alpha)
        assert table["set_size"].to_pylist() == [int(sets[0].sum()), None]
        assert table["set"].to_pylist()[1] is None
        assert (table["set"].to_pylist()[0] == "") == (not sets[0].any())


def tables():
    """Pieces of which the last has another column, and numbers that are whole at first."""
    return [
        pa.table({"id": [1, 2], "text": ["a", ""], "share": pa.array([0.1, None], pa.float32())}),
        pa.table({"id": [3], "text": [None], "share": pa.array([1 / 3], pa.float32())}),
        pa.table({"id": [0.5], "text": ['x,"y"\nz'], "share": pa.array([2], pa.float32()), "error": ["bad"]}),
        pa.table({"id": [5], "text": ["b"], "share": pa.array([0.7], pa.float32())}),
    ]  # fmt: skip


def write_pieces(path, pieces):
    with PredictionFile(path) as file:
        for table in pieces:
            file.add(table)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_pieces_are_written_as_if_at_once(tmp_path, ending):
    whole = pa.concat_tables(tables(), promote_options="permissive")
    at_once, in_pieces = tmp_path / f"a{ending}", tmp_path / f"b{ending}"
    write_table(whole, at_once)
    write_pieces(in_pieces, tables())
    if ending == ".csv":
        assert in_pieces.read_bytes() == at_once.read_bytes()
    else:
        assert pq.read_table(in_pieces).equals(pq.read_table(at_once))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a{ending}", f"b{ending}"]


def test_a_file_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("old")
    with pytest.raises(pa.ArrowTypeError):
        write_pieces(path, [tables()[0], pa.table({"id": ["a text where a number was"]})])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_it_can_be_copied_instead(tmp_path):
    out = io.BytesIO()
    with PredictionFile(None) as file:
        for table in tables():
            file.add(table)
        file.copy_to(out)
    assert out.getvalue().count(b"\n") == 7


@pytest.mark.parametrize(("name", "said"), [("no/p.csv", "does not exist"), ("p.txt", "neither .csv nor .parquet")])  # fmt: skip
def test_a_path_that_cannot_be_written_is_refused_first(tmp_path, name, said):
    with pytest.raises(UserError, match=said):
        PredictionFile(tmp_path / name)


@pytest.mark.parametrize(("ending", "codec"), [(".csv.gz", "gzip"), (".CSV.GZ", "gzip"), (".csv.zst", "zstd")])  # fmt: skip
def test_a_compressed_file_holds_what_a_plain_one_does(tmp_path, ending, codec):
    write_pieces(tmp_path / "plain.csv", tables())
    write_pieces(tmp_path / f"packed{ending}", tables())
    with pa.input_stream(str(tmp_path / f"packed{ending}"), compression=codec) as stream:
        assert stream.read() == (tmp_path / "plain.csv").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2
    before = (tmp_path / f"packed{ending}").read_bytes()
    write_pieces(tmp_path / f"again{ending}", tables())
    assert (tmp_path / f"again{ending}").read_bytes() == before
    if codec == "gzip":
        assert before[3:8] == bytes(5)  # no flags, thus no name, and no time
        assert gzip.decompress(before) == (tmp_path / "plain.csv").read_bytes()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("p.csv.bz2", "ends in neither .csv nor .parquet; .csv may be compressed: .csv.gz, .csv.zst."),
        ("p.zip", "ends in neither"), ("p.gz", "ends in neither"), ("p", "ends in neither"), ("p.txt.gz", "ends in neither"),
        ("p.parquet.gz", "a Parquet file is compressed inside. Give "),
    ],
)  # fmt: skip
def test_other_endings_are_refused(tmp_path, name, message):
    with pytest.raises(UserError, match=re.escape(message)):
        PredictionFile(tmp_path / name)
    assert not list(tmp_path.iterdir())
