"""An ONNX file, run without PyTorch."""

import builtins
import io
import json
import subprocess
import sys

import numpy as np
import onnx
import pytest

import sightline as sl
from sightline.errors import BundleError, OptionError
from tests.predict.tables import columns, train


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "m.onnx"
    model = train(columns())
    model.to_onnx(path)
    return model, path


def test_it_is_loaded_from_a_path_bytes_and_a_file(exported):
    model, path = exported
    content = path.read_bytes()
    for source in (path, str(path), content, io.BytesIO(content)):
        found = sl.OnnxModel.load(source, threads=1).predict(columns())
        assert found.tolist() == model.predict(columns()).tolist()
    with path.open("rb") as file:
        assert sl.OnnxModel.load(file).classes == model.classes


@pytest.mark.parametrize("content", [b"", b"no model", b"PK\x03\x04 cut off", b"\x08\x0a\xff\xff"])
def test_what_is_no_model_is_refused(content):
    with pytest.raises(BundleError):
        sl.OnnxModel.load(content)


def test_every_cut_of_the_file_is_refused(exported):
    content = exported[1].read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        with pytest.raises(BundleError):
            sl.OnnxModel.load(content[: int(len(content) * share)])


def changed(path, change):
    proto = onnx.load(path)
    change(proto)
    return proto.SerializeToString()


def test_other_metadata_is_refused(exported):
    _, path = exported

    def without(proto):
        del proto.metadata_props[:]

    with pytest.raises(BundleError, match="not one that Sightline wrote"):
        sl.OnnxModel.load(changed(path, without))

    def set_to(text):
        def change(proto):
            proto.metadata_props[0].value = text

        return change

    for text in ("", "[]", "{}", "nonsense", "[" * 100_000, '{"format_version": "1"}'):
        with pytest.raises(BundleError, match="metadata cannot be read"):
            sl.OnnxModel.load(changed(path, set_to(text)))
    metadata = json.loads(onnx.load(path).metadata_props[0].value)
    with pytest.raises(BundleError, match="of version 3; this Sightline reads up to 2"):
        sl.OnnxModel.load(changed(path, set_to(json.dumps({**metadata, "format_version": 3}))))


def test_a_file_with_weights_elsewhere_is_refused(exported, tmp_path):
    """Weights outside the file could be any file of the machine."""
    proto = onnx.load(exported[1])
    onnx.save(
        proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    with pytest.raises(BundleError):
        sl.OnnxModel.load(tmp_path / "m.onnx")


def test_missing_files_and_columns(exported, tmp_path):
    with pytest.raises(BundleError, match="does not exist"):
        sl.OnnxModel.load(tmp_path / "none.onnx")
    with pytest.raises(sl.SightlineError, match="'city'"):
        sl.OnnxModel.load(exported[1]).predict({"size": 1.0})


def test_without_onnxruntime_the_extra_is_named(exported, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "onnxruntime":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(OptionError, match=r'pip install "sightline\[onnx\]"'):
        sl.OnnxModel.load(exported[1])


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnxscript"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
import sightline as sl
model = sl.OnnxModel.load(sys.argv[1])
rows = {"size": 3.5, "city": "c1", "paid": True, "day": "1969-02-03", "note": "red w1 number 9"}
print(model.predict_proba(rows)[0].tolist())
"""


def test_it_predicts_where_pytorch_cannot_be_imported(exported):
    model, path = exported
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, str(path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    row = {"size": 3.5, "city": "c1", "paid": True, "day": "1969-02-03", "note": "red w1 number 9"}
    np.testing.assert_allclose(json.loads(done.stdout), model.predict_proba(row)[0], atol=1e-6)
