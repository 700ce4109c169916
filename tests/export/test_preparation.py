"""Stage 2 as ONNX nodes: the features are those of PyTorch to the last bit."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.export.graph import Graph
from sightline.export.preparation import write_preparation
from sightline.prepare.encode import MISSING_DATE, ColumnEncoding, date_numbers
from tests.export.running import run

RANDOM = np.random.default_rng(0)
ROWS = 300
DAYS = np.datetime64("2021-03-04T05:06:07", "us")


def table():
    """A table with columns of every kind."""
    return {
        "x": np.where(RANDOM.random(ROWS) < 0.1, np.nan, RANDOM.normal(size=ROWS)),
        "heavy": np.exp(RANDOM.normal(size=ROWS) * 8),
        "few": RANDOM.integers(0, 4, ROWS).astype(float),
        "same": np.ones(ROWS),
        "when": pa.array(DAYS + RANDOM.integers(0, 10**9, ROWS) * np.timedelta64(50_001, "us")),
        "flag": [None if i % 17 == 0 else bool(i % 3) for i in range(ROWS)],
        "kind": [None if i % 19 == 0 else ["a", "b", "007", "3.0", "12"][i % 5] for i in range(ROWS)],
        "words": [" ".join(RANDOM.choice(["red", "old", "Äpfel", "x1"], 3)) for _ in range(ROWS)],
        "y": ["no" if i % 2 else "yes" for i in range(ROWS)],
    }  # fmt: skip


def prepared_for(numeric):
    splits = sl.split(
        sl.read(table(), kinds={"words": "text", "kind": "categorical"}), "y", valid=0.2
    )
    return sl.prepare(splits, numeric=numeric)


def features_of(prepared, inputs):
    graph = Graph()
    written = write_preparation(graph, prepared.encoder, prepared.transform)
    graph.output("features", written.features, np.float32, [written.width])
    graph.output("codes", written.codes, np.int64, [written.categories])
    model = graph.model()
    return run(model, "features", inputs), run(model, "codes", inputs)


def raw_inputs(prepared, rows):
    """Return a table's columns as the graph takes them."""
    encoder = prepared.encoder
    encoded = encoder.open(rows)(slice(0, rows.rows))
    inputs, at = {}, 0
    for encoding in encoder.encodings:
        name = encoding.column
        if encoding.how == "number":
            inputs[name] = encoded.numeric[:, at : at + 1]
            at += 1
        elif encoding.how == "words":
            width = len(encoder.schema.vocabularies[name])
            inputs[name] = encoded.numeric[:, at : at + width]
            at += width
        elif encoding.how == "date":
            inputs[name] = rows.moments(name)[:, None]
            at += 1 + len(encoding.parts)
        elif name == "flag":
            flags = rows.flags(name)[:, None]
            inputs[name], inputs[f"{name} is missing"] = flags == 1, flags < 0
        else:
            words = rows.words(name)
            texts = [
                None if i is None else words.dictionary[i].as_py()
                for i in words.indices.to_pylist()
            ]
            inputs[name] = np.array([[t or ""] for t in texts], object)
    return inputs, encoded


@pytest.mark.parametrize("numeric", ["quantile", "standard", "minmax", "robust", "none"])
def test_features_and_codes_are_those_of_pytorch_to_the_last_bit(numeric):
    prepared = prepared_for(numeric)
    rows = prepared.splits.table
    inputs, encoded = raw_inputs(prepared, rows)
    x, codes = features_of(prepared, inputs)
    np.testing.assert_array_equal(codes, encoded.categorical)
    import torch

    wanted = prepared.transform(torch.from_numpy(encoded.numeric)).numpy()
    np.testing.assert_array_equal(x.view(np.int32), wanted.view(np.int32))


@pytest.mark.parametrize("numeric", ["quantile", "standard", "minmax", "robust", "none"])
def test_next_to_every_knot_and_far_outside_too(numeric):
    import torch

    prepared = prepared_for(numeric)
    transform = prepared.transform
    names = [name for name, _ in prepared.encoder.numbers]
    inputs, encoded = raw_inputs(prepared, prepared.splits.table)
    edge = [np.nan, 0.0, -0.0, 1e308, -1e308, np.inf, -np.inf, 5e-324]
    for place, name in enumerate(names):
        if name not in inputs or inputs[name].shape[1] != 1 or inputs[name].dtype != np.float64:
            continue
        knots = (
            np.unique(transform.knots[place].numpy()) if transform.knots.shape[1] else np.array([])
        )
        values = np.concatenate(
            [knots, np.nextafter(knots, -np.inf), np.nextafter(knots, np.inf), edge]
        )
        count = len(values)
        some = {key: np.resize(value, (count, value.shape[1])) for key, value in inputs.items()}
        some[name] = values[:, None]
        numbers = np.resize(encoded.numeric, (count, encoded.numeric.shape[1]))
        numbers[:, place] = values
        wanted = transform(torch.from_numpy(numbers)).numpy()
        x, _ = features_of(prepared, some)
        np.testing.assert_array_equal(
            x[:, place].view(np.int32), wanted[:, place].view(np.int32), name
        )


@settings(max_examples=60, deadline=None)
@given(moments=st.lists(st.integers(-(2**62), 2**62) | st.just(int(MISSING_DATE)), min_size=1, max_size=30),
       first=st.integers(-(10**15), 2 * 10**15))  # fmt: skip
def test_dates_are_those_of_numpy(moments, first):
    parts = ("year", "month", "day", "weekday", "hour", "minute")
    found = dates(np.array(moments, np.int64), first, parts)
    wanted = np.stack(date_numbers(np.array(moments, np.int64), first, parts), axis=1)
    np.testing.assert_array_equal(found, wanted)


def test_every_day_of_five_centuries():
    days = np.arange(-80_000, 100_000) * 86_400_000_000
    found = dates(days, 0, ("year", "month", "day", "weekday"))
    some = [0, 12_345, 80_000, 80_059, 179_999]
    for index in some:
        day = dt.date(1970, 1, 1) + dt.timedelta(days=int(days[index] // 86_400_000_000))
        assert found[index, 1:].tolist() == [day.year, day.month, day.day, day.weekday()]
    wanted = np.stack(date_numbers(days, 0, ("year", "month", "day", "weekday")), axis=1)
    np.testing.assert_array_equal(found, wanted)


def dates(moments, first, parts):
    from sightline.contracts import Column, Schema
    from sightline.prepare.encode import Encoder
    from sightline.prepare.transform import Transform

    schema = Schema(
        (Column("d", "datetime", "feature", "a date", None),),
        None,
        {"d": (float(first), float(first))},
        {},
    )
    encoder = Encoder(schema, (ColumnEncoding("d", "date", parts),))
    graph = Graph()
    written = write_preparation(graph, encoder, Transform("standard", 1 + len(parts), []))
    assert written.width == 1 + len(parts)
    stacked = next(node.output[0] for node in graph._nodes if node.op_type == "Concat")
    graph.output("numbers", stacked, np.float64, [1 + len(parts)])
    return run(graph.model(), "numbers", {"d": moments[:, None]})


def test_a_category_is_known_in_other_spellings_of_its_number():
    prepared = prepared_for("standard")
    inputs, _ = raw_inputs(prepared, prepared.splits.table)
    texts = [
        "007",
        "7",
        "7.0",
        "12",
        "12.0",
        "1.2e1",
        "3",
        "3.0",
        "+3",
        "1,2",
        "1_2",
        "abc",
        "",
        "a",
        "b ",
        "∞",
        "0x0c",
        "NaN",
        "inf",
    ]
    some = {name: np.resize(value, (len(texts), value.shape[1])) for name, value in inputs.items()}
    some["kind"] = np.array(texts, object)[:, None]
    _, codes = features_of(prepared, some)
    vocabulary = ("", "?", *prepared.encoder.schema.vocabularies["kind"])
    found = [vocabulary[code] for code in codes[:, prepared.encoder.codes.index("kind")]]
    assert found == [
        "007",
        "007",
        "007",
        "12",
        "12",
        "12",
        "3.0",
        "3.0",
        "3.0",
        "?",
        "?",
        "?",
        "",
        "a",
        "?",
        "?",
        "?",
        "?",
        "?",
    ]


LONG = "123456789012345678"


@pytest.mark.parametrize(
    ("vocabulary", "text"),
    [([LONG], "123456789012345679"), ([LONG], f"{LONG}.0"), (["12"], "12e4567"), (["12"], "1e-400"), (["12"], "1e999"),
     (["12"], "12e0"), (["12"], "0012.000"), (["0.1"], "0.10"), (["0.1", "0.10000000000000000000"], "0.100"),
     (["0.1"], "0.1000000000000000055"), (["7", "007"], "07"), (["7"], "٧"), (["12"], "1" * 5000), (["999999999999999"], "999999999999999.0"),
     (["1000000000000000"], "1e15"), (["-5"], "-5.0"), (["0"], "-0"), ([".5"], "0.5"), (["5."], "5")],
)  # fmt: skip
def test_a_text_is_found_as_in_a_table_or_not_at_all(vocabulary, text):
    """Never the code of another value; long spellings are not unified."""
    from sightline.contracts import Column, Schema
    from sightline.prepare.encode import Categories, Encoder
    from sightline.prepare.transform import Transform

    schema = Schema(
        (Column("c", "categorical", "feature", "codes", None),), None, {}, {"c": tuple(vocabulary)}
    )
    encoder = Encoder(schema, (ColumnEncoding("c", "codes"),))
    graph = Graph()
    written = write_preparation(graph, encoder, Transform("standard", 0, []))
    graph.output("codes", written.codes, np.int64, [1])
    found = run(
        graph.model(), "codes", {"c": np.array([[text], *([word] for word in vocabulary)], object)}
    )
    table = Categories(tuple(vocabulary), 2).codes(pa.array([text]).dictionary_encode())
    assert found[0, 0] in (table[0], 1)
    assert found[1:, 0].tolist() == [2 + place for place in range(len(vocabulary))]


def test_numbers_that_mean_missing_and_a_column_named_as_a_mask():
    data = {**table(), "flag is missing": [float(i % 5) for i in range(ROWS)]}
    splits = sl.split(
        sl.read(data, missing=["-999", "?"], kinds={"words": "text", "kind": "categorical"}), "y"
    )
    prepared = sl.prepare(splits, numeric="standard")
    graph = Graph()
    write_preparation(graph, prepared.encoder, prepared.transform)
    assert "flag is missing is missing" in graph.inputs
    rows = sl.read(
        {**data, "x": [-999.0, *data["x"][1:]]},
        missing=["-999", "?"],
        kinds={"words": "text", "kind": "categorical"},
    )
    inputs, encoded = raw_inputs(prepared, rows)
    inputs["flag is missing is missing"] = rows.flags("flag")[:, None] < 0
    inputs["flag is missing"] = encoded.numeric[
        :, [[name for name, _ in prepared.encoder.numbers].index("flag is missing")]
    ]
    wanted, _ = features_of(prepared, inputs)
    inputs["x"] = np.array([[-999.0], *inputs["x"][1:].tolist()])
    found, _ = features_of(prepared, inputs)
    assert np.isnan(encoded.numeric[0, 0])
    np.testing.assert_array_equal(found, wanted)
