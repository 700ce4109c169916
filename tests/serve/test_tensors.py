import contextlib
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.serve.errors import Refused
from sightline.serve.tensors import DTYPES, load_json, parse, write


def body(**tensor):
    return json.dumps({"inputs": [{"name": "x", "datatype": "FP64", "shape": [2, 1], **tensor}]}).encode()  # fmt: skip


def refused(content, length=None):
    with pytest.raises(Refused) as caught:
        parse(content, length)
    assert caught.value.status == 400
    return caught.value.sentence


@pytest.mark.parametrize("data", [[1, 2.5], [[1], [2.5]], [[[1]], [[2.5]]]])
def test_data_may_be_flat_or_nested(data):
    assert parse(body(data=data), None).inputs[0].values == [1, 2.5]


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        ({"data": [1]}, "has 1 values; its shape says 2"),
        ({"data": [[1], 2]}, "nested unevenly"),
        ({"data": ["a", "b"]}, "holds 'a', which is not FP64"),
        ({"data": [True, 1]}, "holds True"),
        ({"datatype": "INT8", "data": [1, 128]}, "holds 128"),
        ({"datatype": "UINT8", "data": [-1, 1]}, "holds -1"),
        ({"datatype": "BOOL", "data": [0, 1]}, "holds 0"),
        ({"datatype": "BYTES", "data": [b"a".decode(), 1]}, "holds 1"),
        ({"datatype": {}, "data": [1, 2]}, "known are BYTES, BOOL"),
        ({"datatype": "FP8", "data": [1, 2]}, "known are BYTES, BOOL"),
        ({"shape": [2.0, 1], "data": [1, 2]}, "needs a shape"),
        ({"shape": [-2, 1], "data": [1, 2]}, "needs a shape"),
        ({"shape": [10**18], "data": [1, 2]}, "its shape says 1,000,000,000,000,000,000"),
        ({}, "needs data"),
        ({"data": [1, 2], "parameters": {"binary_data_size": 0}}, "both data and binary_data_size"),
        ({"parameters": {"binary_data_size": 16}}, "0 bytes are left"),
        ({"parameters": {"binary_data_size": -1}}, "binary_data_size -1"),
        ({"parameters": {"binary_data_size": True}}, "binary_data_size True"),
        ({"parameters": 3}, "must be a JSON object"),
        ({"name": 3, "data": [1, 2]}, "Every input needs a name"),
    ],
)
def test_tensors_that_lie_are_refused(tensor, said):
    assert said in refused(body(**tensor))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "inputs must be a list"),
        (b'{"inputs": []}', "inputs must be a list"),
        (b'{"inputs": [3]}', "Every input needs a name"),
        (b'{"input": []}', "no field 'input'"),
        (b'{"id": 3, "inputs": []}', "id must be a text"),
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (body(data=[1, 2])[:-1] + b', "outputs": [3]}', "Every output needs a name"),
        (body(data=[1, 2]).replace(b"2}", b"2}").replace(b"[1, 2]", b"[1, NaN]"), "NaN is no JSON number"),
        (body(data=[1, 2]).replace(b"[1, 2]", b"[1, -Infinity]"), "-Infinity is no JSON number"),
    ],
)  # fmt: skip
def test_requests_that_are_no_requests_are_refused(content, said):
    assert said in refused(content)


@pytest.mark.parametrize("length", ["", "-1", "x", "1e3", "99999999999999999999999", "٣"])
def test_a_length_of_the_json_that_lies_is_refused(length):
    assert "Inference-Header-Content-Length" in refused(body(data=[1, 2]), length)


def test_the_names_of_the_binary_lengths_are_checked():
    text = body(parameters={"binary_data_size": 16})
    good = text + np.array([1.0, np.nan]).tobytes()
    found = parse(good, str(len(text))).inputs[0].values
    assert found[0] == 1
    assert np.isnan(found[1])
    assert "8 bytes follow the JSON, of which the tensors take 0" in refused(
        body(data=[1, 2]) + b"8 bytes.", str(len(body(data=[1, 2])))
    )
    assert "24 bytes follow the JSON" in refused(good + b"8 bytes.", str(len(text)))


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (b"\x01\x00\x00", "ends within the length of value 0"),
        (b"\x05\x00\x00\x00ab", "value 0 has 5 bytes, but 2 are left"),
        (b"\xff\xff\xff\xffab", "value 0 has 4,294,967,295 bytes"),
        (b"\x01\x00\x00\x00a", "does not hold 2 values"),
        (b"\x01\x00\x00\x00a" * 3, "does not hold 2 values"),
        (b"\x01\x00\x00\x00\xff" * 2, "value 0 is not UTF-8"),
    ],
)
def test_texts_whose_lengths_lie_are_refused(block, said):
    text = body(datatype="BYTES", parameters={"binary_data_size": len(block)})
    assert said in refused(text + block, str(len(text)))


def test_only_0_and_1_are_truth_values():
    text = body(datatype="BOOL", parameters={"binary_data_size": 2})
    assert parse(text + b"\x00\x01", str(len(text))).inputs[0].values == [False, True]
    assert "other than 0 and 1" in refused(text + b"\x00\x02", str(len(text)))


@given(st.binary(max_size=200), st.integers(0, 200))
def test_no_bytes_raise_anything_else(content, length):
    for given_length in (None, str(length)):
        with contextlib.suppress(Refused):
            parse(content, given_length)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from([*DTYPES, "BYTES", "binary_data_size", 2**63, 10**30, -1]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["name", "datatype", "shape", "data", "parameters", "binary_data_size", "a"]), inner, max_size=6
    ),
    max_leaves=20,
)  # fmt: skip


@given(
    st.fixed_dictionaries(
        {"inputs": st.lists(json_values, max_size=3)},
        optional={"id": json_values, "outputs": json_values, "parameters": json_values},
    ),
    st.binary(max_size=40),
)  # fmt: skip
def test_no_json_raises_anything_else(request_, rest):
    text = json.dumps(request_).encode()
    for content, length in ((text, None), (text + rest, str(len(text)))):
        with contextlib.suppress(Refused):
            parse(content, length)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*DTYPES, "BYTES"]),
            st.lists(st.integers(0, 1), min_size=1, max_size=4),
            st.booleans(),
        ),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_what_is_written_is_read_again(tensors):
    arrays = [
        (f"t{i}", np.array(list(map(str, values)), object) if kind == "BYTES" else np.array(values, DTYPES[kind]), binary)
        for i, (kind, values, binary) in enumerate(tensors)
    ]  # fmt: skip
    content, length = write({}, arrays)
    size = len(content) if length is None else length
    asked = json.dumps({"inputs": json.loads(content[:size])["outputs"]}).encode()
    read = parse(asked + content[size:], None if length is None else str(len(asked)))
    assert [tensor.datatype for tensor in read.inputs] == [kind for kind, _, _ in tensors]
    assert [tensor.values for tensor in read.inputs] == [array.tolist() for _, array, _ in arrays]


def test_numbers_that_json_lacks_are_null():
    content, length = write({"model_name": "m"}, [("x", np.array([1.5, np.inf, np.nan]), False)])
    assert length is None
    assert json.loads(content)["outputs"][0]["data"] == [1.5, None, None]


def test_a_text_is_written_with_its_length_in_bytes():
    content, length = write({}, [("x", np.array(["ä"], object), True)])
    assert content[length:] == struct.pack("<I", 2) + "ä".encode()


def test_json_is_strict():
    with pytest.raises(Refused, match="Extra data"):
        load_json(b"{} {}")
