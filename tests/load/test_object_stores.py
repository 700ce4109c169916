"""Files in an object store: copied once, checked, read as files on the disk are, without credentials in what is kept or said."""

import shutil
import tempfile
from collections import namedtuple
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

import sightline as sl
from sightline.errors import DataError, OptionError
from sightline.load.object_stores import Stored
from sightline.pipeline.origin import evaluate
from sightline.pipeline.spool import kept_files
from tests.load.moto import KEY, SECRET, Relay

PENGUINS = "examples/penguins.csv"
QUICK = {"quality": "fast", "epochs": 2, "report": False, "baselines": False, "quiet": True}


@pytest.fixture(autouse=True)
def no_other_credentials(monkeypatch):
    """Nothing is asked of Amazon's own machines."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def copies(tmp_path_factory, monkeypatch):
    """The folder of temporary copies."""
    folder = tmp_path_factory.mktemp("copies")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def bucket(moto):
    """A bucket with the penguins in a file, and in three parts of Parquet in a folder."""
    moto.files.create_dir("birds")
    moto.put("birds/my files/pen%20guins.csv", Path(PENGUINS).read_bytes())
    rows = csv.read_csv(PENGUINS, convert_options=csv.ConvertOptions(null_values=[""], strings_can_be_null=True))  # fmt: skip
    for number in range(3):
        part = pa.BufferOutputStream()
        pq.write_table(rows.slice(number * 120, 120), part)
        moto.put(f"birds/parts/part-{number}.parquet", part.getvalue())
    moto.put("birds/parts/_SUCCESS", b"")
    yield moto
    moto.files.delete_dir("birds")


@pytest.fixture
def relay(moto):
    """A way to the server that breaks connections when it is asked to."""
    relay = Relay(moto.port)
    yield relay
    relay.close()


# ------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("birds/my files/pen%20guins.csv", ["my files/pen%20guins.csv"]),
        ("birds/parts", [f"parts/part-{n}.parquet" for n in range(3)]),
        ("birds/parts/", [f"parts/part-{n}.parquet" for n in range(3)]),
        ("birds/parts/part-[01].parquet", [f"parts/part-{n}.parquet" for n in range(2)]),
        ("birds/*/*.parquet", [f"parts/part-{n}.parquet" for n in range(3)]),
        ("birds/**/*.parquet", [f"parts/part-{n}.parquet" for n in range(3)]),
    ],
)
def test_a_file_a_folder_and_a_pattern_are_read(bucket, copies, path, files):
    table = sl.read(bucket.address(path))
    assert list(table.paths) == [f"s3://birds/{file}" for file in files]
    assert table.name == f"s3://{path.rstrip('/')}"
    here = sl.read(PENGUINS)
    assert [table.row(n) for n in range(table.rows)] == [here.row(n) for n in range(table.rows)]
    assert len(list(copies.iterdir())) == 1
    del table
    assert not list(copies.iterdir())


def test_cells_and_errors_name_the_object(bucket, copies):
    bucket.put("birds/two/a.csv", b"x,y\n1,2\n")
    bucket.put("birds/two/b.csv", b"x,y\n3,4\n5,6,7\n")
    with pytest.raises(DataError, match=r"^s3://birds/two/b.csv, line 3: 3 cells"):
        sl.read(bucket.address("birds/two"))
    table = sl.read(bucket.address("birds/two"), on_bad_rows="skip")
    assert table.locate(1, "x") == ("s3://birds/two/b.csv, line 2", "3")
    bucket.put("birds/two/b.csv", b"x,z\n3,4\n")
    with pytest.raises(DataError, match=r"^s3://birds/two/b.csv and s3://birds/two/a.csv have"):
        sl.read(bucket.address("birds/two"))
    bucket.put("birds/two/c.parquet", b"PAR1")
    with pytest.raises(DataError, match=r"^s3://birds/two holds files of different formats"):
        sl.read(bucket.address("birds/two"))
    with pytest.raises(DataError, match=r"^s3://birds/two/c.parquet cannot be read as Parquet"):
        sl.read(bucket.address("birds/two/c.parquet"))


def test_the_endpoint_and_the_keys_may_be_in_the_environment(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{bucket.port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert sl.read("s3://birds/parts").rows == 344


def test_a_workbook_is_read(bucket):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [("x", "y"), (1, "a"), (2, "b")]:
        book.active.append(row)
    with bucket.files.open_output_stream("birds/book.xlsx") as file:
        book.save(file)
    assert sl.read(bucket.address("birds/book.xlsx"), sheet="Sheet").rows == 2


# ------------------------------------------------------------- fits


def test_a_fit_reads_once_and_lives_from_its_own_files(bucket, tmp_path, sightline):
    address = bucket.address("birds/parts")
    said = sightline("fit", address, "--target", "species", "--quality", "fast", "--epochs", "2", "--run", tmp_path / "a")  # fmt: skip
    assert said.code == 0, said.err
    assert f"Reading s3://birds/parts: 3 files, 0.1 MB, into {tmp_path / 'a' / 'data'}." in said.err
    assert "s3://birds/parts" in said.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
    bucket.files.delete_dir("birds/parts")
    run = sl.Run(tmp_path / "a")
    assert run.table.rows == 344
    assert evaluate(run.model)["log_loss"] == run.metrics["log_loss"]
    replayed = sl.replay(run.folder, to=tmp_path / "b", quiet=True)
    assert replayed.find("train", "replay")[-1].body["identical"]


def test_files_that_are_not_kept_are_read_from_the_store_again(bucket, tmp_path, monkeypatch):
    run = sl.fit(bucket.address("birds/parts"), "species", keep_data=False, run=tmp_path / "a", **QUICK)  # fmt: skip
    assert not (tmp_path / "a" / "data").exists()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert evaluate(run.model)["log_loss"] == run.metrics["log_loss"]
    bucket.files.delete_file("birds/parts/part-1.parquet")
    with pytest.raises(DataError, match=r"^s3://birds/parts\?endpoint.* has changed since"):
        evaluate(run.model)


def test_a_fit_that_is_refused_leaves_nothing(bucket, tmp_path):
    with pytest.raises(OptionError, match="no column 'specie'"):
        sl.fit(bucket.address("birds/parts"), "specie", run=tmp_path / "a", **QUICK)
    assert not list(tmp_path.iterdir())


def test_rows_of_validation_and_test_are_read_from_a_store(bucket, tmp_path, monkeypatch):
    part = bucket.address("birds/parts/part-2.parquet")
    with pytest.raises(OptionError, match=r"The address of test= \(--test\) holds credentials") as caught:  # fmt: skip
        sl.fit(PENGUINS, "species", test=part, run=tmp_path / "a", **QUICK)
    assert SECRET not in str(caught.value)
    with pytest.raises(OptionError, match=r"The address of valid= \(--valid\) holds credentials"):
        sl.tune(PENGUINS, "species", valid=part, folder=tmp_path / "b", **QUICK)
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    run = sl.fit(PENGUINS, "species", test=Stored(part).again, run=tmp_path / "a", **QUICK)
    assert len(run.model.rows["test"]) == 104
    assert evaluate(run.model)["log_loss"] == run.metrics["log_loss"]


def test_a_refit_and_a_tuning_read_from_a_store(bucket, tmp_path):
    run = sl.fit(PENGUINS, "species", run=tmp_path / "a", **QUICK)
    again, changes = sl.refit(bucket.address("birds/parts"), run.model, run=tmp_path / "b", quiet=True)  # fmt: skip
    assert (again.table.rows, changes.sentences()) == (344, [])
    address = bucket.address("birds/parts")
    tuned = sl.tune(address, "species", trials=1, folder=tmp_path / "c", **QUICK)
    bucket.files.delete_dir("birds/parts")
    more = sl.tune(address, "species", trials=2, folder=tmp_path / "c", **QUICK)
    assert (len(tuned.trials), len(more.trials)) == (1, 2)
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path


def test_a_copy_that_was_cut_off_is_made_again(bucket, tmp_path):
    (tmp_path / "data.part" / "000000").mkdir(parents=True)
    (tmp_path / "data.part" / "000000" / "old.csv").write_text("x\n")
    source = kept_files(Stored(bucket.address("birds/my files/pen%20guins.csv")), tmp_path, True)
    assert Path(source).read_bytes() == Path(PENGUINS).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


# ------------------------------------------------------------- predictions


def test_predictions_of_a_folder_are_those_of_its_files(bucket, tmp_path, copies, sightline):
    run = sl.fit(PENGUINS, "species", run=tmp_path / "a", **QUICK)
    held = []
    labels = []
    for piece in run.model.in_pieces(bucket.address("birds/parts")):
        held.append(sum(len(list(folder.rglob("*.parquet"))) for folder in copies.iterdir()))
        labels += list(piece.labels)
        del piece
    assert labels == list(run.model.predict(PENGUINS))
    assert max(held) <= 2  # one file at a time, and the piece that was handed over before
    assert not list(copies.iterdir())
    said = sightline("predict", tmp_path / "a", bucket.address("birds/my files/*.csv"), "-o", tmp_path / "p.csv")  # fmt: skip
    assert said.code == 0
    assert csv.read_csv(tmp_path / "p.csv").num_rows == 344
    bucket.put("birds/parts/part-3.parquet", bucket.files.open_input_stream("birds/parts/part-2.parquet").read()[:50])  # fmt: skip
    said = sightline("predict", tmp_path / "a", bucket.address("birds/parts"), "-o", tmp_path / "q.csv")  # fmt: skip
    assert said.code == 2
    assert "s3://birds/parts/part-3.parquet cannot be read as Parquet" in said.err
    assert not (tmp_path / "q.csv").exists()


def test_files_of_other_columns_are_not_predicted(bucket, tmp_path):
    run = sl.fit(PENGUINS, "species", run=tmp_path / "a", **QUICK)
    rows = pa.BufferOutputStream()
    pq.write_table(csv.read_csv(PENGUINS).drop_columns(["year"]), rows)
    bucket.put("birds/parts/part-3.parquet", rows.getvalue())
    with pytest.raises(DataError, match=r"^s3://birds/parts/part-3.parquet and s3://birds/parts/part-0.parquet have different"):  # fmt: skip
        list(run.model.in_pieces(bucket.address("birds/parts")))


def test_predictions_are_not_written_into_a_store(bucket, fitted, sightline):
    said = sightline("predict", fitted / "runs" / "a", PENGUINS, "-o", bucket.address("birds/p.csv"))  # fmt: skip
    assert said.code == 2
    assert "Predictions cannot be written into an object store" in said.err
    assert SECRET not in said.err


# ------------------------------------------------------------- what goes wrong


def test_no_file_of_a_run_and_no_output_has_the_secret(bucket, tmp_path, sightline):
    run, address, wrong = tmp_path / "runs" / "a", bucket.address("birds/parts"), bucket.address("birds/none")  # fmt: skip
    said = [
        sightline("fit", address, "--target", "species", "--quality", "fast", "--epochs", "2", "--run", run),
        sightline("predict", run, address, "--json"),
        sightline("evaluate", run, address, "--json"),
        sightline("explain", run, address, "--row", "3000"),
        sightline("check", run, address, "-o", tmp_path / "c.html"),
        sightline("importance", run, address, "--repeats", "1"),
        sightline("inspect", address),
        sightline("inspect", f"{address}&client_secret={SECRET}"),
        sightline("inspect", address.replace("s3://", "s4://")),
        sightline("inspect", address.replace("%2F", "/")),
        sightline("fit", wrong, "--target", "species"),
        sightline("predict", run, wrong),
    ]  # fmt: skip
    bucket.check_keys(True)
    try:
        said.append(sightline("inspect", address))
        said.append(sightline("inspect", bucket.address("birds/*.csv")))
    finally:
        bucket.check_keys(False)
    assert [one.code for one in said] == [0, 0, 0, 2, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2], [one.err for one in said]  # fmt: skip
    for one in said:
        for secret in (SECRET, SECRET.replace("/", "%2F"), KEY):
            assert secret not in one.out + one.err
    for path in tmp_path.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert SECRET.encode() not in content, path
        assert KEY.encode() not in content, path
    assert "There is no source s4://. The addresses are: 's3'" in said[8].err
    assert "The address of the object store cannot be read. Write it as" in said[9].err
    assert "s3://birds/none does not exist. Check the bucket and the path." in said[10].err
    assert "ACCESS_DENIED" in said[12].err
    assert "Check the credentials" in said[12].err


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("nobody/x.csv", r"^s3://nobody/x.csv does not exist. Check the bucket and the path."),
        ("nobody/*.csv", r"^s3://nobody/\*.csv cannot be read: .*NO_SUCH_BUCKET.* Check the bucket"),
        ("birds/*.csv", r"^No file matches s3://birds/\*.csv. Check the pattern."),
        ("birds", r"^s3://birds is a folder with no CSV"),
    ],
)  # fmt: skip
def test_what_does_not_exist_is_named(bucket, path, error):
    with pytest.raises(DataError, match=error):
        sl.read(bucket.address(path))


def test_a_store_that_cannot_be_reached(moto):
    with pytest.raises(DataError, match=r"^s3://birds/x.csv cannot be read: .*NETWORK_CONNECTION.* Check that the store can be reached, its region and its endpoint"):  # fmt: skip
        sl.read(moto.address("birds/x.csv", port=1))


def test_a_connection_that_breaks_is_made_again(bucket, relay, copies):
    rows = Path(PENGUINS).read_text().splitlines(keepends=True)
    bucket.put("birds/long.csv", "".join([rows[0], *rows[1:] * 20]).encode())
    relay.cuts = 2
    table = sl.read(bucket.address("birds/long.csv", relay.port))
    assert (table.rows, relay.cut) == (6880, 2)
    del table
    relay.cuts = 1000
    with pytest.raises(DataError, match=r"^s3://birds/long.csv cannot be read: .*NETWORK_CONNECTION.*end of response.* Check that the store can be reached.*and try again"):  # fmt: skip
        sl.read(bucket.address("birds/long.csv", relay.port))
    assert not list(copies.iterdir())


def test_an_object_that_changes_while_it_is_read(bucket, relay, tmp_path):
    rows = Path(PENGUINS).read_text().splitlines(keepends=True)
    text = "".join([rows[0], *rows[1:] * 20])
    bucket.put("birds/long.csv", text.encode())
    relay.hook = lambda: bucket.put("birds/long.csv", text.replace("Biscoe", "Bisc0e").encode())
    with pytest.raises(DataError, match=r"^s3://birds/long.csv changed while it was read. Try again"):  # fmt: skip
        sl.fit(bucket.address("birds/long.csv", relay.port), "species", run=tmp_path / "a", **QUICK)
    assert relay.hook is None
    assert not list(tmp_path.iterdir())


def test_without_space_on_the_disk_nothing_is_copied(bucket, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**6))
    with pytest.raises(DataError, match=r"not enough space in .*rows of s3://birds/parts: 1 MB are free, 26\d MB are needed"):  # fmt: skip
        sl.fit(bucket.address("birds/parts"), "species", run=tmp_path / "a", **QUICK)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("address", "name", "again", "secret", "stem"),
    [
        ("s3://b/a/x.csv", "s3://b/a/x.csv", "s3://b/a/x.csv", False, "x"),
        ("S3://k:s@b?region=eu-west-1", "s3://b", "s3://b?region=eu-west-1", True, "b"),
        ("s3://b/x@home.csv", "s3://b/x@home.csv", "s3://b/x@home.csv", False, "x@home"),
        ("gs://anonymous@b/x/", "gs://anonymous@b/x", "gs://anonymous@b/x", False, "x"),
        ("abfs://c@a.dfs.core.windows.net/x", "abfs://c@a.dfs.core.windows.net/x", "abfs://c@a.dfs.core.windows.net/x", False, "x"),
        ("abfs://a:pw@127.0.0.1:1000/c/x", "abfs://a@127.0.0.1:1000/c/x", "abfs://a@127.0.0.1:1000/c/x", True, "x"),
        ("abfss://:pw@c/x", "abfss://c/x", "abfss://c/x", True, "x"),
        ("s3://b/x?endpoint_override=http://u:pw@h", "s3://b/x", "s3://b/x", True, "x"),
        ("abfs://c/x?client_secret=pw&enable_tls=true", "abfs://c/x", "abfs://c/x?enable_tls=true", True, "x"),
    ],
)  # fmt: skip
def test_what_is_shown_of_an_address(address, name, again, secret, stem):
    stored = Stored(address)
    assert (stored.name, stored.again, stored.has_secret, stored.stem) == (name, again, secret, stem)  # fmt: skip
    assert "pw" not in f"{stored}{stored!r}"


@pytest.mark.parametrize(
    "address", ["s3://", "s3:///x.csv", "s3://k:s/s@b/x", "s3://k:12/s@b/x", "s3://k@s@b/x", "s3://k:s"]
)  # fmt: skip
def test_an_address_that_may_be_read_in_two_ways_is_refused(address):
    with pytest.raises(OptionError, match="The address of the object store cannot be read"):
        sl.read(address)


@pytest.mark.parametrize("address", ["http://h/x.csv", "hdfs://h/x.csv", "mysql://me:pw@h/shop"])
def test_an_address_of_another_kind_names_those_that_are_known(address, tmp_path):
    with pytest.raises(OptionError, match=r"^There is no source \w+://. .*'s3'.*'postgresql'") as caught:  # fmt: skip
        sl.read(address)
    assert "pw" not in str(caught.value)
    with pytest.raises(OptionError, match="There is no source"):
        sl.fit(address, "y", run=tmp_path / "a", quiet=True)


def test_a_store_of_google_and_one_of_azure_are_asked(monkeypatch):
    with pytest.raises(DataError, match=r"^gs://anonymous@b/x.csv cannot be read: .*Could not connect"):  # fmt: skip
        sl.read("gs://anonymous@b/x.csv?endpoint_override=127.0.0.1:1&scheme=http&retry_limit_seconds=0.1")  # fmt: skip
    with pytest.raises(OptionError, match=r"^abfs://c/x.csv: .* Write it as s3://"):
        sl.read("abfs://c/x.csv?nonsense=1")
