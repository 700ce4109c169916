"""Metrics by the values of columns, of own test rows and of other rows."""

import numpy as np
import pytest

import sightline as sl
from sightline.errors import DataError, OptionError


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A table with columns of every role, and a model of it that was fitted from its file."""
    folder = tmp_path_factory.mktemp("shop")
    random = np.random.default_rng(0)
    rows = 600
    x, place = random.normal(size=rows), random.choice(["Oslo", "Rome", "Bern"], rows)
    lines = ["id,x,place,clerk,day,dropped,y"]
    for i in range(rows):
        y = "yes" if x[i] + 0.5 * random.normal() > 0 else "no"
        day = f"20{10 + i * 4 // rows}-03-0{1 + i % 9}"
        lines.append(f"c{i:04d},{x[i]:.3f},{place[i]},k{i % 7},{day},{'ab'[i % 2]}{i % 2},{y}")
    path = folder / "shop.csv"
    path.write_text("\n".join(lines) + "\n")
    run = sl.fit(
        path, "y", group="clerk", test=0.4, drop=["dropped", "day"], network="MLP", epochs=3,
        run=folder / "run", report=False, quiet=True,
    )  # fmt: skip
    return path, run


def groups(body):
    return {group["group"]: group["rows"] for group in body["columns"][0]["groups"]}


def test_own_test_rows_by_a_feature_a_group_column_and_dropped_ones(shop):
    path, run = shop
    test = sl.read(path)
    rows = run.model.rows["test"].numpy()
    for name in ("place", "clerk", "dropped"):
        values, counts = np.unique([test.cells(name, int(row)) for row in rows], return_counts=True)
        found = sl.slices(run.model, by=name)
        assert found["part"] == "test"
        assert found["rows"] == len(rows)
        assert groups(found) == dict(zip(values, counts.tolist(), strict=True))
    assert sl.slices(run.model, by="day")["columns"][0]["how"] == "by year, 4 years"


def test_several_columns_at_once_and_each_once(shop):
    found = sl.slices(shop[1].model, by=["place", "clerk", "place"])
    assert [column["column"] for column in found["columns"]] == ["place", "clerk"]
    assert found["comparisons"] == sum(
        group["difference"] is not None for column in found["columns"] for group in column["groups"]
    )


def test_the_metrics_of_a_group_are_those_of_its_rows_alone(shop):
    path, run = shop
    table = sl.read(path)
    found = sl.slices(run.model, path, by="place")
    for group in found["columns"][0]["groups"]:
        rows = [i for i in range(table.rows) if table.cells("place", i) == group["group"]]
        predictions = run.model.predictions(path)
        alone = run.model.measure(predictions, np.array(rows))
        assert group["rows"] == alone["rows"]
        for name in ("accuracy", "log_loss", "roc_auc"):
            assert group["values"][name] == pytest.approx(alone[name], rel=1e-4)


def test_other_rows_by_columns_that_the_model_never_saw(shop):
    _, run = shop
    random = np.random.default_rng(1)
    data = {
        "x": random.normal(size=90), "place": ["Oslo", "Paris", None] * 30, "age": range(90),
        "who": ["w1", "w2", "w3"] * 30, "y": ["yes", "no"] * 45, "price": ["1,5", "22,5", "3,25"] * 30,
    }  # fmt: skip
    assert groups(sl.slices(run.model, data, by="place")) == {
        "Oslo": 30, "never seen in training": 30, "missing": 30,
    }  # fmt: skip
    found = sl.slices(run.model, data, by=["age", "who", "price", "y"])
    assert found["columns"][0]["kind"] == "numeric"
    assert [column["how"] for column in found["columns"]] == [
        "5 ranges with about equally many rows", "3 values", "3 values", "2 values",
    ]  # fmt: skip
    assert groups({"columns": found["columns"][2:]}) == {"1.5": 30, "22.5": 30, "3.25": 30}


def test_rows_without_a_target_are_in_no_group(shop):
    data = {
        "x": [0.5] * 60, "place": ["Oslo", "Rome"] * 30, "more": ["a", "b", "c"] * 20,
        "y": ["yes"] * 40 + [None] * 20,
    }  # fmt: skip
    found = sl.slices(shop[1].model, data, by="more")
    assert found["rows"] == 40
    assert sum(groups(found).values()) == 40


def test_class_weights_and_thresholds_decide_the_metric(penguins):
    for more, metric in (
        ({"class_weights": "balanced"}, "roc_auc"), ({"threshold": 0.3}, "roc_auc"), ({}, "log_loss"),
    ):  # fmt: skip
        run = sl.fit(
            penguins, "sex", quality="fast", report=False, baselines=False, quiet=True, **more
        )
        found = sl.slices(run.model, penguins, by="island")
        assert found["columns"][0]["metric"] == metric


def test_an_onnx_model_gives_the_same(shop, tmp_path):
    path, run = shop
    run.model.to_onnx(tmp_path / "m.onnx")
    model = sl.OnnxModel.load(tmp_path / "m.onnx")
    ours, theirs = (sl.slices(one, path, by="clerk") for one in (run.model, model))
    for one, other in zip(
        ours["columns"][0]["groups"], theirs["columns"][0]["groups"], strict=True
    ):
        assert one["rows"] == other["rows"]
        assert one["score"] == pytest.approx(other["score"], rel=1e-3)
    with pytest.raises(OptionError, match="An ONNX model does not know its test rows"):
        sl.slices(model, by="clerk")


@pytest.mark.parametrize(
    ("by", "error", "said"),
    [
        ("plaice", OptionError, r"no column 'plaice'\. Did you mean 'place'"),
        ("droped", OptionError, r"no column 'droped'\. Did you mean 'dropped'"),
        (
            "id",
            DataError,
            "'id' has 2.. different values in 2.. measured rows: nearly every row has its own",
        ),
        ([], OptionError, "by names no column"),
    ],
)
def test_columns_that_cannot_be(shop, by, error, said):
    with pytest.raises(error, match=said):
        sl.slices(shop[1].model, by=by)


def test_columns_that_other_rows_lack(shop):
    data = {"x": [0.1, 0.2] * 9, "place": ["Oslo"] * 18, "y": ["yes", "no"] * 9}
    with pytest.raises(OptionError, match=r"no column 'clerk'\. .*'x', 'place', 'y'"):
        sl.slices(shop[1].model, data, by="clerk")
    with pytest.raises(DataError, match="'place' has one value in all 18 measured rows: Oslo"):
        sl.slices(shop[1].model, data, by="place")
    del data["y"]
    with pytest.raises(DataError, match="no column 'y', the target"):
        sl.slices(shop[1].model, data, by="place")


def test_a_target_of_numbers_and_a_model_without_held_out_rows_are_refused(penguins, tmp_path):
    run = sl.fit(
        penguins, "body_mass_g", network="MLP", epochs=1, valid=0, test=0, run=tmp_path / "r", report=False, quiet=True,
    )  # fmt: skip
    with pytest.raises(OptionError, match="'body_mass_g' is the target, a number"):
        sl.slices(run.model, penguins, by="body_mass_g")
    with pytest.raises(DataError, match="neither test nor validation rows"):
        sl.slices(run.model, by="island")
    assert sl.slices(run.model, penguins, by="island")["columns"][0]["metric"] == "rmse"


def test_dropped_columns_of_rows_from_another_file_cannot_be_read_again(shop, tmp_path):
    path, _ = shop
    lines = path.read_text().splitlines()
    (tmp_path / "test.csv").write_text("\n".join([lines[0], *lines[401:]]) + "\n")
    (tmp_path / "train.csv").write_text("\n".join(lines[:401]) + "\n")
    run = sl.fit(
        tmp_path / "train.csv", "y", test=str(tmp_path / "test.csv"), drop=["dropped"], network="MLP", epochs=1,
        run=tmp_path / "r", report=False, quiet=True,
    )  # fmt: skip
    with pytest.raises(
        DataError, match=r"'dropped' was dropped when .* Give the rows to measure as a file"
    ):
        sl.slices(run.model, by="dropped")
    assert groups(sl.slices(run.model, tmp_path / "test.csv", by="dropped")) == {
        "a0": 100,
        "b1": 100,
    }


def test_rows_that_changed_are_noticed(shop, tmp_path):
    path, _ = shop
    copy = tmp_path / "copy.csv"
    copy.write_text(path.read_text())
    run = sl.fit(
        copy, "y", drop=["dropped"], network="MLP", epochs=1, run=tmp_path / "r", report=False, quiet=True
    )  # fmt: skip
    copy.write_text(copy.read_text().replace("Oslo", "Bergen"))
    with pytest.raises(DataError, match="has changed since the model was trained on it"):
        sl.slices(run.model, by="dropped")
