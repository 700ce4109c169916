import pytest

from sightline.errors import BundleError, OptionError
from sightline.serve.files import given, watched


@pytest.fixture
def folder(tmp_path):
    for name in ("a.sightline", "b.onnx", "notes.txt", ".hidden.onnx"):
        (tmp_path / name).write_bytes(b"x")
    for version in ("9.sightline", "10.onnx", "2.sightline", ".11.onnx"):
        (tmp_path / "many").mkdir(exist_ok=True)
        (tmp_path / "many" / version).write_bytes(version.encode())
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_a_folder_holds_models_and_versions(folder):
    assert [(place.name, place.version) for place in watched(folder)] == [
        ("a", None), ("b", None), ("many", "10"),
    ]  # fmt: skip
    assert watched(folder)[-1].read().content == b"10.onnx"


def test_numbers_are_newer_than_texts(folder):
    (folder / "many" / "beta.onnx").write_bytes(b"")
    (folder / "many" / "10.1.onnx").write_bytes(b"")
    assert watched(folder)[-1].version == "10.1"


def test_a_name_may_be_given(folder):
    places = given([str(folder / "a.sightline"), f"other={folder / 'b.onnx'}"])
    assert [place.name for place in places] == ["a", "other"]


def test_a_run_folder_is_named_as_it_is(folder):
    (folder / "many" / "model.sightline").write_bytes(b"x")
    assert given([str(folder / "many")])[0].name == "many"


@pytest.mark.parametrize(
    ("models", "error", "said"),
    [
        (["nowhere.onnx"], BundleError, "nowhere.onnx does not exist"),
        (["{}/empty"], BundleError, "does not exist"),
        (["{}/a.sightline", "a={}/b.onnx"], OptionError, "both be served as 'a'"),
        (["a/b={}/a.sightline"], OptionError, "'a/b' cannot be the name"),
        (["={}/a.sightline"], OptionError, "'' cannot be the name"),
    ],
)
def test_wrong_models_are_refused(folder, models, error, said):
    with pytest.raises(error, match=said):
        given([text.format(folder) for text in models])


def test_a_folder_with_two_models_of_a_name_is_refused(folder):
    (folder / "a.onnx").write_bytes(b"x")
    with pytest.raises(OptionError, match="both be served as 'a'"):
        watched(folder)


def test_what_is_no_folder_is_refused(folder):
    with pytest.raises(OptionError, match="is no folder"):
        watched(folder / "a.sightline")
