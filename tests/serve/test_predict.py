"""Rows as JSON over a real connection: the same answers as in Python, and errors that say what to do."""

import json

import numpy as np
import pytest

import sightline as sl
from tests.predict.tables import columns
from tests.predict.tables import row as row_of


@pytest.fixture(scope="module")
def species(models):
    return sl.Model.load(models / "species.sightline")


@pytest.fixture(scope="module")
def one(rows):
    return {name: value for name, value in rows[0].items() if name != "species"}


def test_a_row_is_predicted_as_in_python(server, species, rows):
    status, answer = server.post("predict/species", {"rows": rows[:40], "alpha": 0.1})
    assert status == 200
    found = np.array([[*one["probabilities"].values()] for one in answer["predictions"]])
    assert np.abs(found - species.predict_proba(rows_table(rows[:40]))).max() < 1e-5
    assert [one["label"] for one in answer["predictions"]] == species.predict(
        rows_table(rows[:40])
    ).tolist()
    sets = species.predict_set(rows_table(rows[:40]), 0.1)
    assert [one["set"] for one in answer["predictions"]] == [
        [name for name, held in zip(species.classes, row, strict=True) if held] for row in sets
    ]
    assert answer["model"] == "species"
    assert answer["missing"]["sex"] == sum(row["sex"] is None for row in rows[:40])
    assert answer["ignored"] == ["species"]


def rows_table(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_a_number_is_predicted_with_its_interval(server, models, rows):
    model = sl.Model.load(models / "weight.sightline")
    status, answer = server.post("predict/weight", {"rows": rows[:3], "alpha": 0.2})
    assert status == 200
    values = model.predict(rows_table(rows[:3]))
    intervals = model.predict_interval(rows_table(rows[:3]), 0.2)
    spread = values.std() + 1
    for got, value, ends in zip(answer["predictions"], values, intervals, strict=True):
        assert abs(got["value"] - value) < 1e-4 * spread
        assert np.abs(np.array(got["interval"]) - ends).max() < 1e-4 * spread


def test_every_kind_of_column_is_taken(server):
    data = columns()
    rows = [row_of(data, number) for number in range(12)]
    rows[0] |= {"city": "never seen", "size": 1e9, "paid": None, "day": None, "note": None}
    both = [server.post(f"predict/{name}", {"rows": rows})[1] for name in ("mixed", "exported")]
    assert both[0]["unseen"] == both[1]["unseen"] == {"city": 1}
    assert both[0]["out_of_range"] == both[1]["out_of_range"] == {"size": 1}
    assert both[0]["missing"] == both[1]["missing"]
    assert {"paid": 1, "day": 1, "note": 1}.items() <= both[0]["missing"].items()
    shares = [[list(p["probabilities"].values()) for p in one["predictions"]] for one in both]
    assert np.abs(np.array(shares[0]) - np.array(shares[1])).max() < 1e-5


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "not valid JSON"),
        (b"[]", 400, 'The body must be {"rows"'),
        ({"rows": []}, 400, "rows is empty"),
        ({"rows": [3]}, 400, "Row 0 is no JSON object"),
        ({"rows": [{}]}, 400, "Row 0 lacks the columns 'island', 'bill_length_mm'"),
        ({"rows": [{"island": "Dream"}], "row": 1}, 400, "has no field 'row'"),
        ({"rows": [{}] * 501}, 413, "501 rows; the server takes 500 (--max-rows)"),
        (b'{"rows": ["' + b"x" * 200_000 + b'"]}', 413, "more than 200,000 bytes"),
        ({"rows": [{}], "alpha": 2}, 400, "alpha is 2"),
        ({"rows": [{}], "alpha": True}, 400, "alpha is True"),
        (b'{"rows": [{"island": NaN}]}', 400, "NaN is no JSON number; a missing value is null"),
        (b"\xff", 400, "not UTF-8"),
    ],
)
def test_bodies_that_are_not_right_are_refused(server, body, status, said):
    found, answer = server.post("predict/species", body)
    assert (found, list(answer)) == (status, ["error"])
    assert said in answer["error"]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("bill_length_mm", "39.1", "a number or null is expected, not the string '39.1'"),
        ("bill_length_mm", True, "not the boolean True"),
        ("bill_length_mm", [39.1], "not the list [39.1]"),
        ("bill_length_mm", {"a": 1}, "not the object"),
        ("island", 3, "a text or null is expected, not the number 3"),
        ("bill_length_mm", 10**400, "Row 1"),
    ],
)
def test_a_value_of_a_wrong_type_is_named_with_its_row(server, one, column, value, said):
    status, answer = server.post("predict/species", {"rows": [one, {**one, column: value}]})
    assert status == 400
    assert "Row 1" in answer["error"]
    assert column in answer["error"]
    assert said in answer["error"]


@pytest.mark.parametrize("text", ["1e999", "-1e999"])
def test_an_infinite_number_is_refused(server, one, text):
    body = json.dumps({"rows": [{**one, "bill_length_mm": 7.25}]}).replace("7.25", text)
    status, answer = server.post("predict/species", body.encode())
    assert status == 400
    assert "bill_length_mm" in answer["error"]


def test_half_of_a_surrogate_pair_is_refused_or_unseen(server, one):
    body = json.dumps({"rows": [{**one, "island": "?"}]}).replace("?", "\\ud800")
    status, answer = server.post("predict/species", body.encode())
    assert (status, "error" in answer) in ((400, True), (200, False))


def test_a_date_that_cannot_be_read_is_refused(server):
    row = row_of(columns(), 1) | {"day": "next tuesday"}
    for name in ("mixed", "exported"):
        status, answer = server.post(f"predict/{name}", {"rows": [row]})
        assert status == 400
        assert "day" in answer["error"]
        assert "next tuesday" in answer["error"]


def test_the_model_must_be_named_where_there_are_several(server, one):
    status, answer = server.post("predict", {"rows": [one]})
    assert status == 404
    assert "Served: exported, mixed, species, weight" in answer["error"]
    assert server.post("predict/nothing", {"rows": [one]})[0] == 404


def test_sets_of_a_model_without_scores_are_refused(server):
    status, answer = server.post("predict/mixed", {"rows": [row_of(columns(), 1)], "alpha": 0.1})
    assert status == 400
    assert "not calibrated" in answer["error"]


def test_every_error_is_json_of_one_content_type(server):
    for method, path in (("GET", "nothing"), ("GET", "predict/species"), ("DELETE", "v2"), ("POST", "v2/models/no/infer")):  # fmt: skip
        status, headers, answer = server.ask(method, path)
        assert status in (400, 404, 405)
        assert headers["content-type"] == "application/json"
        assert list(json.loads(answer)) == ["error"]


def test_unusual_values_are_counted_for_prometheus(server):
    row = row_of(columns(), 1) | {"city": "never seen", "size": 1e9, "paid": None}
    names = [
        f'sightline_{what}_total{{column="{column}",model="mixed"}}'
        for what, column in (("unseen", "city"), ("out_of_range", "size"), ("missing", "paid"))
    ]
    before = [server.metric(name) for name in names]
    rows = server.metric('sightline_rows_total{model="mixed"}')
    assert server.post("predict/mixed", {"rows": [row, row]})[0] == 200
    assert [server.metric(name) for name in names] == [count + 2 for count in before]
    assert server.metric('sightline_rows_total{model="mixed"}') == rows + 2
    errors = 'sightline_errors_total{endpoint="predict",kind="bad request"}'
    before = server.metric(errors)
    server.post("predict/mixed", b"")
    assert server.metric(errors) == before + 1


def test_logs_hold_no_values_of_rows(server, one):
    server.post("predict/species", {"rows": [{**one, "island": {"secret": 1}}]})
    server.post("predict/species", {"rows": [{**one, "island": "Secret Island"}]})
    lines = server.events("request")
    assert {"method", "path", "endpoint", "status", "milliseconds", "client"} <= lines[-1].keys()
    assert "ecret" not in "".join(server.log)


def test_an_explanation_has_the_path_with_torch_and_the_parts_with_onnx(server, one):
    status, answer = server.post("explain/species", {"row": one})
    assert status == 200
    assert answer["engine"] == "onnx"
    assert [part["name"] for part in answer["parts"]] == ["network", "trees"]
    assert len(answer["members"]["values"]) == 6
    sums = np.sum([part["share"] for part in answer["parts"]], axis=0)
    assert np.allclose(sums, answer["logits"])
    status, answer = server.post("explain/species", {"row": one, "layers": True})
    assert status == 501
    assert "--engine torch" in answer["error"]
    row = row_of(columns(), 1)
    status, answer = server.post("explain/mixed", {"row": row})
    assert status == 200
    assert answer["engine"] == "torch"
    assert answer["layers"]
    assert "layers" not in server.post("explain/mixed", {"row": row, "layers": False})[1]


@pytest.mark.parametrize("body", [b"3", {"row": 3}, {"row": {}}, {"row": {}, "x": 1}, {"row": {}, "layers": 1}])  # fmt: skip
def test_a_question_that_is_none_is_refused(server, body):
    status, answer = server.post("explain/mixed", body)
    assert (status, list(answer)) == (400, ["error"])


def test_explanations_agree_whatever_computes(models, one):
    from sightline.serve.explained import explained

    both = [
        explained(sl.Model.load(models / "species.sightline"), one),
        explained(sl.OnnxModel.load(models / "species.sightline"), one),
    ]
    for name in ("probabilities", "logits", "uncalibrated"):
        assert np.allclose(both[0][name], both[1][name], atol=1e-5)
    for first, second in zip(both[0]["parts"], both[1]["parts"], strict=True):
        assert np.allclose(first["share"], second["share"], atol=1e-5)
    assert np.allclose(both[0]["members"]["values"], both[1]["members"]["values"], atol=1e-5)
    assert np.allclose(both[0]["members"]["spread"], both[1]["members"]["spread"], atol=1e-5)
    assert both[0]["prediction"] == both[1]["prediction"]
    assert both[0]["raw"] == both[1]["raw"]
