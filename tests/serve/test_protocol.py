"""The Open Inference Protocol, asked by its own client (tritonclient) and by hand."""

import asyncio
import gzip
import json
import zlib

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

import sightline as sl

TYPES = {"FP64": np.float64, "BYTES": np.object_}


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(f"{server.host}:{server.port}") as client:
        yield client


def tensors(client_module, model, rows, binary):
    """Return a request's inputs for rows of the penguins."""
    inputs = []
    for column in model.encoder.schema.features:
        values = [row[column.name] for row in rows]
        kind = "FP64" if column.kind == "numeric" else "BYTES"
        missing = np.nan if kind == "FP64" else ""
        array = np.array([missing if v is None else v for v in values], TYPES[kind])[:, None]
        tensor = client_module.InferInput(column.name, array.shape, kind)
        if kind == "FP64" and not binary and np.isnan(array).any():
            pytest.skip("this client writes NaN in JSON, which is refused")
        tensor.set_data_from_numpy(array, binary_data=binary)
        inputs.append(tensor)
    return inputs


def complete(rows, count):
    return [row for row in rows if None not in row.values()][:count]


def test_the_client_finds_the_server_alive_and_the_model_ready(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("species")
    assert not client.is_model_ready("nothing")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata("species")
    assert metadata["name"] == "species"
    assert {"name": "island", "datatype": "BYTES", "shape": [-1, 1]} in metadata["inputs"]
    assert [output["name"] for output in metadata["outputs"]] == ["label", "probabilities", "set"]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_the_client_gets_the_models_predictions(client, models, rows, binary, packed):
    model = sl.Model.load(models / "species.sightline")
    chosen = complete(rows, 30)
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("probabilities", "label", "set")]  # fmt: skip
    result = client.infer(
        "species", tensors(triton, model, chosen, binary), outputs=outputs, request_id="my id",
        request_compression_algorithm=packed, response_compression_algorithm=packed,
    )  # fmt: skip
    table = {name: [row[name] for row in chosen] for name in chosen[0]}
    assert np.abs(result.as_numpy("probabilities") - model.predict_proba(table)).max() < 1e-5
    labels = [x.decode() if isinstance(x, bytes) else x for x in result.as_numpy("label").tolist()]
    assert labels == model.predict(table).tolist()
    assert (result.as_numpy("set") == model.predict_set(table)).all()
    assert result.get_response()["id"] == "my id"
    assert "model_version" not in result.get_response()


def test_all_outputs_come_where_none_is_named_and_missing_values_are_nan(client, models, rows):
    model = sl.Model.load(models / "species.sightline")
    result = client.infer("species", tensors(triton, model, rows[:10], True))
    assert result.as_numpy("probabilities").dtype == np.float32
    table = {name: [row[name] for row in rows[:10]] for name in rows[0]}
    assert np.abs(result.as_numpy("probabilities") - model.predict_proba(table)).max() < 1e-5


@pytest.mark.parametrize("binary", [True, False])
def test_the_asynchronous_client_gets_them_too(server, models, rows, binary):
    model = sl.Model.load(models / "weight.sightline")
    chosen = complete(rows, 8)

    async def ask():
        async with triton_aio.InferenceServerClient(f"{server.host}:{server.port}") as client:
            assert await client.is_server_ready()
            inputs = tensors(triton_aio, model, chosen, binary)
            answers = await asyncio.gather(*(client.infer("weight", inputs) for _ in range(8)))
            return [answer.as_numpy("value") for answer in answers]

    table = {name: [row[name] for row in chosen] for name in chosen[0]}
    for value in asyncio.run(ask()):
        assert np.allclose(value, model.predict(table), rtol=1e-5)


def test_the_client_gets_our_errors(client, models, rows):
    model = sl.Model.load(models / "species.sightline")
    inputs = tensors(triton, model, complete(rows, 1), True)
    with pytest.raises(InferenceServerException, match="Served: exported") as caught:
        client.infer("nothing", inputs)
    assert caught.value.status() == "404"
    with pytest.raises(InferenceServerException, match="are missing: 'island'") as caught:  # fmt: skip
        client.infer("species", inputs[1:])
    assert caught.value.status() == "400"
    with pytest.raises(InferenceServerException, match="has no output 'nothing'"):
        client.infer("species", inputs, outputs=[triton.InferRequestedOutput("nothing")])
    with pytest.raises(InferenceServerException, match="classification extension"):
        client.infer("species", inputs, outputs=[triton.InferRequestedOutput("label", class_count=2)])  # fmt: skip


def request(**changed):
    """Return a request of two rows of the table with columns of every kind."""
    data = {
        "size": ("FP64", [1.5, None]), "city": ("BYTES", ["c1", ""]), "paid": ("BOOL", [True, None]),
        "day": ("INT64", [86_400_000_000, None]), "note": ("BYTES", ["red w1", None]), **changed,
    }  # fmt: skip
    return {"inputs": [
        {"name": name, "datatype": kind, "shape": [len(values), 1], "data": values}
        for name, (kind, values) in data.items()
    ]}  # fmt: skip


@pytest.mark.parametrize("name", ["mixed", "exported"])
def test_every_kind_of_column_is_a_tensor(server, models, name):
    status, answer = server.post(f"v2/models/{name}/infer", request())
    assert status == 200, answer
    found = {output["name"]: output for output in answer["outputs"]}
    rows = {
        "size": [1.5, None], "city": ["c1", None], "paid": [True, None], "day": ["1970-01-02", None],
        "note": ["red w1", None],
    }  # fmt: skip
    expected = sl.Model.load(models / "mixed.sightline").predict_proba(rows)
    assert found["probabilities"]["shape"] == [2, 2]
    assert np.abs(np.array(found["probabilities"]["data"]).reshape(2, 2) - expected).max() < 1e-5
    assert found["label"]["datatype"] == "BYTES"


def test_other_ways_to_write_a_column_are_taken(server):
    plain = server.post("v2/models/mixed/infer", request())[1]["outputs"]
    for changed in (
        {"size": ("FP32", [1.5, None])}, {"day": ("BYTES", ["1970-01-02", ""])},
        {"paid": ("BOOL", [True, True]), "paid is missing": ("BOOL", [False, True])},
    ):  # fmt: skip
        assert server.post("v2/models/mixed/infer", request(**changed))[1]["outputs"] == plain
    whole = server.post("v2/models/mixed/infer", request(size=("INT32", [2, 3])))[1]["outputs"]
    assert whole == server.post("v2/models/mixed/infer", request(size=("FP64", [2.0, 3.0])))[1]["outputs"]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"size": ("BYTES", ["1", "2"])}, "'size' has the datatype BYTES; it takes FP64"),
        ({"city": ("INT64", [1, 2])}, "'city' has the datatype INT64; it takes BYTES"),
        ({"paid": ("INT8", [0, 1])}, "'paid' has the datatype INT8; it takes BOOL"),
        ({"size": ("FP64", [1.0])}, "have 1 and 2 rows"),
        ({"other": ("FP64", [1.0, 2.0])}, "has no inputs 'other'"),
        ({"day": ("INT64", [2**62, 0])}, "is no date"),
        ({"paid is missing": ("BOOL", [True])}, "must be BOOL, with a value for each row"),
        ({"day": ("BYTES", ["1970-01-02", "tomorrow"])}, "tomorrow"),
    ],
)
def test_tensors_that_do_not_fit_the_model_are_refused(server, changed, said):
    status, answer = server.post("v2/models/mixed/infer", request(**changed))
    assert status == 400
    assert said in answer["error"]


def test_shapes_that_are_no_columns_are_refused(server):
    asked = request()
    asked["inputs"][0]["shape"] = [1, 2]
    assert "[1, 2]; it takes [rows, 1]" in server.post("v2/models/mixed/infer", asked)[1]["error"]
    asked = request()
    asked["inputs"].append(asked["inputs"][0])
    assert "is given twice" in server.post("v2/models/mixed/infer", asked)[1]["error"]
    none = request(**{name: (kind, []) for name, (kind, _) in {
        "size": ("FP64", 0), "city": ("BYTES", 0), "paid": ("BOOL", 0), "day": ("INT64", 0), "note": ("BYTES", 0)
    }.items()})  # fmt: skip
    assert "no rows" in server.post("v2/models/mixed/infer", none)[1]["error"]
    asked = request()
    asked["inputs"][0]["shape"] = [10**12, 1]
    assert server.post("v2/models/mixed/infer", asked)[0] in (400, 413)


def test_a_request_in_binary_form_needs_no_content_type(server):
    block = np.array([1.5, np.nan]).tobytes()
    asked = request()
    asked["inputs"][0].pop("data")
    asked["inputs"][0]["parameters"] = {"binary_data_size": len(block)}
    asked["parameters"] = {"binary_data_output": True}
    text = json.dumps(asked).encode()
    length = {"Inference-Header-Content-Length": str(len(text))}
    status, headers, body = server.ask("POST", "v2/models/mixed/infer", text + block, length)
    assert status == 200
    assert headers["content-type"] == "application/octet-stream"
    size = int(headers["inference-header-content-length"])
    outputs = {output["name"]: output for output in json.loads(body[:size])["outputs"]}
    taken = sum(output["parameters"]["binary_data_size"] for output in outputs.values())
    assert size + taken == len(body)


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_bodies_may_be_compressed(server, encoding, pack):
    plain = server.post("v2/models/mixed/infer", request())
    packed = pack(json.dumps(request()).encode())
    assert server.post("v2/models/mixed/infer", packed, **{"Content-Encoding": encoding}) == plain
    status, answer = server.post("v2/models/mixed/infer", b"no", **{"Content-Encoding": encoding})
    assert (status, list(answer)) == (400, ["error"])
    bomb = pack(bytes(30_000_000))
    assert server.post("v2/models/mixed/infer", bomb, **{"Content-Encoding": encoding})[0] == 413
    assert server.post("v2/models/mixed/infer", b"x", **{"Content-Encoding": "br"})[0] == 415


def test_nan_in_json_is_refused_with_the_way_to_write_it(server):
    body = json.dumps(request(size=("FP64", [1.5, float("nan")]))).encode()
    status, answer = server.post("v2/models/mixed/infer", body)
    assert status == 400
    assert "NaN is no JSON number" in answer["error"]
    assert "binary" in answer["error"]


def test_alpha_is_a_parameter(server):
    asked = {"inputs": [], "parameters": {"alpha": 0.5}, "outputs": [{"name": "set"}]}
    values = {"island": "Dream", "sex": "male", "bill_length_mm": 46.0, "bill_depth_mm": 18.0,
              "flipper_length_mm": 190, "body_mass_g": 3700, "year": 2008}  # fmt: skip
    for name, value in values.items():
        kind = "BYTES" if isinstance(value, str) else "FP64"
        asked["inputs"].append({"name": name, "datatype": kind, "shape": [1, 1], "data": [value]})
    status, answer = server.post("v2/models/species/infer", asked)
    assert status == 200, answer
    assert answer["outputs"][0]["datatype"] == "BOOL"
    asked["parameters"]["alpha"] = 1e-9
    assert "allow no alpha below" in server.post("v2/models/species/infer", asked)[1]["error"]


def test_health_bodies_hold_both(server):
    for path in ("v2/health/live", "v2/health/ready"):
        assert server.get(path) == (200, {"live": True, "ready": True})
    assert server.get("v2/models/species/ready") == (200, {"name": "species", "ready": True})
    assert server.get("v2/models/species/versions/3/ready")[0] == 404
