"""Files of models that somebody has tampered with: only our errors come out, soon, and without much memory."""

import contextlib
import io
import json
import resource
import struct
import zipfile

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import SightlineError
from tests.predict.tables import columns, train

SLOWLY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


class Bytes(bytes):
    """Bytes that Hypothesis does not print."""

    def __repr__(self):
        return "the bundle"


@pytest.fixture(scope="module")
def bundle(penguins):
    """A bundle with every member there is, ONNX among them."""
    model = sl.fit(
        penguins, "species", quality="fast", quiet=True, report=False, baselines=False
    ).model
    file = io.BytesIO()
    model.save(file, onnx=True)
    return Bytes(file.getvalue())


def tried(content):
    """Load a file in both ways; say whether either took it."""
    taken = 0
    for load in (sl.Model.load, sl.OnnxModel.load):
        with contextlib.suppress(SightlineError):
            load(content)
            taken += 1
    return taken


@SLOWLY
@given(st.data())
def test_bytes_that_have_changed(bundle, data):
    content = bytearray(bundle)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    tried(bytes(content))


@SLOWLY
@given(st.data())
def test_files_that_are_cut_off_or_longer(bundle, data):
    end = data.draw(st.integers(0, len(bundle)))
    tried(bundle[:end])
    tried(bundle[:end] + data.draw(st.binary(max_size=50)) + bundle[end:])
    tried(data.draw(st.binary(max_size=200)))
    tried(b"PK\x03\x04" + data.draw(st.binary(max_size=200)))


def rewritten(bundle, change, method=zipfile.ZIP_STORED):
    """Return the archive with its members changed, and the checksums of the manifest made right again."""
    import hashlib

    with zipfile.ZipFile(io.BytesIO(bundle)) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members = change(dict(members))
    manifest = json.loads(members["manifest.json"])
    manifest["sha256"] = {
        name: hashlib.sha256(data).hexdigest()
        for name, data in members.items()
        if name != "manifest.json"
    }
    members["manifest.json"] = json.dumps(manifest).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as new:
        for name, data in members.items():
            new.writestr(name, data)
    return out.getvalue()


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5), st.just([]), st.just({}),
    st.just([[[1]]]), st.just({"a": {"b": []}}), st.just(10**30), st.just("../../etc/passwd"),
)  # fmt: skip


def places(value, path=()):
    """List the places of all values in JSON."""
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in list(items)[:40]:
        yield from places(inner, (*path, key))


def put(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(copy[path[0]], path[1:], new)
    return copy


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(["manifest.json", "spec.json", "prepare.json", "reference.json"]),
    st.lists(st.tuples(st.integers(0, 10**6), VALUES), min_size=1, max_size=2),
)
def test_json_that_says_something_else(bundle, name, changes):
    def change(members):
        value = json.loads(members[name])
        for number, new in changes:
            inner = [path for path in places(value) if path]
            value = put(value, inner[number % len(inner)], new)
        members[name] = json.dumps(value).encode()
        return members

    tried(rewritten(bundle, change))


@SLOWLY
@given(
    st.sampled_from(["weights", "transform", "trees", "conformal", "rows", "typical"]), st.data()
)
def test_tensors_whose_header_lies(bundle, name, data):
    def change(members):
        content = members[f"{name}.safetensors"]
        (size,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + size])
        key = data.draw(st.sampled_from(sorted(header)))
        field = data.draw(st.sampled_from(["dtype", "shape", "data_offsets"]))
        if isinstance(header[key], dict):
            header[key][field] = data.draw(
                VALUES
                | st.lists(st.integers(0, 2**62), max_size=3)
                | st.sampled_from(["F32", "I64", "U8"])
            )
        text = json.dumps(header).encode()
        length = data.draw(st.sampled_from([len(text), 0, 2**63, 2**40]))
        members[f"{name}.safetensors"] = struct.pack("<Q", length) + text + content[8 + size :]
        return members

    tried(rewritten(bundle, change))


def test_compressed_bombs_paths_and_doubled_members(bundle):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert not tried(rewritten(bundle, lambda members: members, zipfile.ZIP_DEFLATED))
    bomb = rewritten(
        bundle,
        lambda members: {**members, "weights.safetensors": bytes(300_000_000)},
        zipfile.ZIP_DEFLATED,
    )
    assert len(bomb) < 2_000_000
    assert not tried(bomb)
    del bomb
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 900_000
    )  # kB; the bomb was made here
    assert tried(rewritten(bundle, lambda members: {**members, "../../outside": b"x"})) <= 2
    out = io.BytesIO(bundle)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(out, "a") as doubled:
        doubled.writestr("spec.json", b"{}")
    with pytest.raises(SightlineError):
        sl.Model.load(out.getvalue())


def test_a_bundle_holds_nothing_that_runs(bundle):
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        for name in archive.namelist():
            assert name.endswith((".json", ".safetensors", ".onnx", ".md"))
            assert not archive.read(name).startswith(
                (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
            )  # pickles


def test_an_onnx_file_holds_nothing_that_runs(bundle, tmp_path):
    mixed = train(columns())
    mixed.to_onnx(tmp_path / "m.onnx")
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        contents = [archive.read("model.onnx"), (tmp_path / "m.onnx").read_bytes()]
    for content in contents:
        model = onnx.load_from_string(content)
        assert not model.functions
        assert {one.domain for one in model.opset_import} <= {"", "ai.onnx.ml"}
        assert {node.domain for node in model.graph.node} <= {"", "ai.onnx.ml"}
        assert not {node.op_type for node in model.graph.node} & {
            "Loop",
            "Scan",
            "If",
            "Optional",
            "PythonOp",
        }
        assert all(
            one.data_location != onnx.TensorProto.EXTERNAL for one in model.graph.initializer
        )
