"""One row has the same prediction everywhere: in Python, from the bundle, from the ONNX file, over HTTP in both forms."""

import datetime as dt
import locale
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sightline as sl
from tests.serve.served import serving

ROWS = 60


@st.composite
def tables(draw):
    """A table of random columns; every kind, missing values, odd names, two classes, more, or a number."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = draw(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)
            .filter(lambda name: name not in ("target", "rows")),
            min_size=1, max_size=5, unique_by=str.casefold,
        )
    )  # fmt: skip
    kinds = [draw(st.sampled_from(["number", "few", "words", "codes", "flag", "date", "text"])) for _ in names]  # fmt: skip
    columns = {}
    for name, kind in zip(names, kinds, strict=True):
        match kind:
            case "number":
                values = (random.normal(size=ROWS) * 10.0 ** int(random.integers(-3, 6))).tolist()
            case "few":
                values = random.integers(0, 4, ROWS).astype(float).tolist()
            case "words":
                values = random.choice(["red", "größe", "日本", "a b", "-"], ROWS).tolist()
            case "codes":
                values = random.choice(["007", "3", "12"], ROWS).tolist()
            case "flag":
                values = [bool(x) for x in random.integers(0, 2, ROWS)]
            case "date":
                start = dt.datetime(1950 + int(random.integers(0, 70)), 3, 4, 5, 6)
                values = [
                    (start + dt.timedelta(hours=int(x))).isoformat() for x in random.integers(0, 10**5, ROWS)
                ]  # fmt: skip
            case "text":
                values = [" ".join(random.choice(["alpha", "Beta", "γάμμα", "x1"], 3)) + f" {i}" for i in range(ROWS)]  # fmt: skip
        gaps = random.random(ROWS) < draw(st.sampled_from([0.0, 0.2]))
        columns[name] = [None if gap else value for gap, value in zip(gaps, values, strict=True)]
    target = draw(st.sampled_from(["two", "three", "booleans", "number"]))
    columns["target"] = {
        "two": ["no", "yes"] * (ROWS // 2), "three": [1, 2, 3] * (ROWS // 3), "booleans": [True, False] * (ROWS // 2),
        "number": random.normal(50, 20, ROWS).tolist(),
    }[target]  # fmt: skip
    return columns, dict(zip(names, kinds, strict=True))


FORCED = {"number": "numeric", "few": "numeric", "words": "categorical", "codes": "categorical", "flag": "boolean",
          "date": "datetime", "text": "text"}  # fmt: skip


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    (folder / "m").mkdir()
    table = {"x": [i / 4 for i in range(40)], "y": ["a", "b"] * 20}
    sl.fit(table, "y", network="MLP", epochs=1, quiet=True).model.save(folder / "m" / "0.sightline")
    with serving("--watch", folder, "--drain", 0) as server:
        yield folder / "m", server


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables(), st.sampled_from([{"network": "MLP"}, {"quality": "fast"}]))
def test_all_ways_agree(watched, table, options):
    columns, kinds = table
    folder, server = watched
    forced = {name: FORCED[kind] for name, kind in kinds.items()}
    model = sl.fit(columns, "target", kinds=forced, epochs=2, quiet=True, **options).model
    version = str(1 + max(int(path.stem) for path in folder.iterdir() if path.suffix == ".sightline"))  # fmt: skip
    model.save(folder / ".new", onnx=True)
    (folder / ".new").rename(folder / f"{version}.sightline")
    rows = {name: values[:20] for name, values in columns.items() if name != "target"}
    values = model.predictions(rows).values
    scale = max(1.0, float(np.std(columns["target"]))) if values.shape[1] == 1 else 1.0

    def agrees(found):
        found = np.array(found, np.float64).reshape(values.shape)
        assert np.abs(found - values).max() <= 1e-5 * scale

    agrees(sl.Model.load(folder / f"{version}.sightline").predictions(rows).values)
    exported = sl.OnnxModel.load(folder / f"{version}.sightline")
    agrees(exported.predictions(rows).values)
    agrees(exported.run(exported.inputs(rows)))
    deadline = dt.datetime.now() + dt.timedelta(seconds=60)
    while server.get("v2/models/m")[1]["versions"] != [version]:
        assert dt.datetime.now() < deadline, server.log[-3:]
    objects = [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]
    status, answer = server.post("predict/m", {"rows": objects})
    assert status == 200, answer
    agrees([[*one["probabilities"].values()] if "probabilities" in one else [one["value"]]
            for one in answer["predictions"]])  # fmt: skip
    types = {one["name"]: one["datatype"] for one in server.get("v2/models/m")[1]["inputs"]}
    kind_of = {name: "BYTES" if kinds[name] == "date" else types[name] for name in rows}
    status, answer = server.post("v2/models/m/infer", {"inputs": [
        {"name": name, "datatype": kind_of[name], "shape": [20, 1], "data": rows[name]} for name in types
    ]})  # fmt: skip
    assert status == 200, answer
    found = {output["name"]: output["data"] for output in answer["outputs"]}
    agrees(found.get("probabilities") or found["value"])


BLOCK = """
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnxscript"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
"""


@pytest.mark.parametrize("name", ["mixed.onnx", "species.sightline"])
def test_a_model_with_onnx_is_served_where_pytorch_cannot_be_imported(models, tmp_path, name, rows):
    (tmp_path / "sitecustomize.py").write_text(BLOCK, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with serving(models / name, "--drain", 0, environment={"PYTHONPATH": path}) as server:
        stem = Path(name).stem
        assert server.get(f"v2/models/{stem}/ready")[0] == 200
        if stem == "species":
            assert server.post("predict", {"rows": rows[:2]})[0] == 200
            assert server.post("explain", {"row": rows[0]})[1]["parts"]
            assert server.post("explain", {"row": rows[0], "layers": True})[0] == 501


def test_locale_folder_and_time_zone_change_nothing(models, tmp_path, rows):
    expected = sl.Model.load(models / "mixed.sightline")
    row = {"size": 1.5, "city": "c1", "paid": True, "day": "1969-06-01", "note": "red w1"}
    shutil.copy(models / "mixed.onnx", tmp_path / "here.onnx")
    names = {name.split(".")[0] for name in locale.locale_alias.values()}
    other = {
        "LC_ALL": "tr_TR.UTF-8" if "tr_TR" in names else "C",
        "TZ": "Pacific/Kiritimati",
        "PYTHONUTF8": "0",
    }
    with serving("here.onnx", "--drain", 0, environment=other, cwd=tmp_path) as server:
        answer = server.post("predict", {"rows": [row]})[1]
    found = [*answer["predictions"][0]["probabilities"].values()]
    assert np.abs(np.array(found) - expected.predict_proba(row)[0]).max() < 1e-5
