"""A network that learns the predictions of a model, and how it is compared with it."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import sightline as sl
from sightline.errors import DataError, OptionError
from sightline.load.known import TEST, TRAINING
from sightline.load.table import subset
from sightline.pipeline import student_rows as module
from sightline.pipeline.origin import evaluate
from sightline.pipeline.student_rows import Parts
from sightline.pipeline.warm_start import earlier_of
from sightline.predict.conformal import Conformal

SMALL = {"quality": "fast", "report": False, "baselines": False, "quiet": True, "test": 0.2}
TARGETS = {"two": "answer", "three": "kind", "number": "price"}


def rows_of(count, seed):
    """Rows with two classes, three classes and a number that depend on all columns; the signal is clear."""
    random = np.random.default_rng(seed)
    x, z = random.normal(size=(2, count)).round(4)
    city = random.choice(["Oslo", "Rome", "Bern"], count)
    day = random.integers(0, 700, count)
    score = x + np.where(city == "Rome", 1.5, -0.5) * z + 0.3 * random.normal(size=count)
    return pd.DataFrame({
        "x": np.where(random.random(count) < 0.05, np.nan, x), "z": z, "city": city,
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(day, "D"),
        "answer": np.where(score > 0, "yes", "no"),
        "kind": np.array(["low", "middle", "high"])[np.digitize(score, [-0.7, 0.7])],
        "price": (100 * score + day / 10).round(2),
    })  # fmt: skip


def table_of(target, rows):
    return rows.drop(columns=[name for name in TARGETS.values() if name != target])


@pytest.fixture(scope="module")
def few_copies():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_COPIES", 4)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory, few_copies):
    """A teacher of each task, its file and its table, and its student."""
    folder, rows = tmp_path_factory.mktemp("distill"), rows_of(600, 0)
    found = {}
    for name, target in TARGETS.items():
        path = folder / f"{name}.csv"
        table_of(target, rows).to_csv(path, index=False)
        run = sl.fit(path, target, run=folder / name, **SMALL)
        found[name] = (run.model, path, sl.distill(run.model, path))
    return found


@pytest.mark.parametrize("name", TARGETS)
def test_the_student_predicts_what_its_teacher_predicts(made, name):
    teacher, _, distilled = made[name]
    new = table_of(TARGETS[name], rows_of(500, 1))
    wanted, found = teacher.predictions(new).values, distilled.model.predictions(new).values
    if name == "number":
        assert np.square(wanted - found).mean() < 0.05 * wanted.var()
    else:
        assert (wanted.argmax(axis=1) == found.argmax(axis=1)).mean() > 0.9
        assert np.abs(wanted - found).mean() < 0.05
    assert distilled.agreement > 0.9
    assert list(distilled.model.fitted_parts) == ["network"]


@pytest.mark.parametrize("name", TARGETS)
def test_both_are_measured_on_the_teachers_test_rows(made, name):
    teacher, _, distilled = made[name]
    loss, score = distilled.metrics
    assert distilled.held_out
    assert distilled.measured_on.startswith("120 rows that neither has learned from")
    for model, side in ((teacher, distilled.teacher), (distilled.model, distilled.student)):
        metrics = evaluate(model)  # of its test rows, read again
        assert metrics[loss] == pytest.approx(side.loss, rel=1e-6)
        assert metrics[score] == pytest.approx(side.score, rel=1e-6)
        assert side.rows_per_second > 0
    assert distilled.student.loss < 1.3 * distilled.teacher.loss


def test_no_test_row_is_learned_from_in_whatever_order(made):
    teacher, path, _ = made["two"]
    rows = pd.read_csv(path, parse_dates=["day"])
    order = np.random.default_rng(5).permutation(len(rows))
    parts, places = parts_of(teacher, rows)
    shuffled, _ = parts_of(teacher, rows.iloc[order])
    assert set(parts.measured) == set(np.flatnonzero(places == TEST))
    assert set(order[shuffled.measured]) == set(parts.measured)
    for one in (parts, shuffled):
        used = [*one.learned, *one.stopping, *one.calibration, *one.measured]
        assert sorted(used) == list(range(len(rows)))  # each row is for one thing


def parts_of(teacher, rows, seed=0):
    table = teacher.read(rows, roles=("group", "weight"))
    places = earlier_of(teacher.spec, teacher.encoder, teacher.rows).places(table)
    return Parts.of(teacher, table, np.random.default_rng(seed)), places


def test_rows_in_another_order_teach_as_well(made, few_copies):
    teacher, path, distilled = made["three"]
    rows = pd.read_csv(path).iloc[::-1]
    other = sl.distill(teacher, rows)
    assert other.agreement > 0.9
    assert other.teacher.loss == pytest.approx(distilled.teacher.loss, rel=1e-6)


def test_the_target_is_not_learned_from(made, few_copies):
    teacher, path, distilled = made["two"]
    rows = pd.read_csv(path)
    rows["answer"] = np.where(rows["answer"] == "yes", "no", "yes")
    other = sl.distill(teacher, rows)  # rows are known by their features too
    weights = distilled.model.network.state_dict()
    assert all(
        torch.equal(weights[n], value) for n, value in other.model.network.state_dict().items()
    )
    assert other.student.score == pytest.approx(1 - distilled.student.score)


def test_the_seed_decides(made, few_copies):
    teacher, path, distilled = made["two"]
    same, other = sl.distill(teacher, path), sl.distill(teacher, path, seed=1)
    first = distilled.model.network.state_dict()
    assert all(torch.equal(first[n], v) for n, v in same.model.network.state_dict().items())
    assert not all(torch.equal(first[n], v) for n, v in other.model.network.state_dict().items())


# ------------------------------------------------------------- perturbed copies


def test_values_of_copies_come_from_other_rows_a_column_at_once(made):
    teacher, path, _ = made["number"]
    table = teacher.read(path)
    parts = Parts.of(teacher, table, np.random.default_rng(0))
    prepared = module.prepared_for(teacher, table, parts, np.random.default_rng(0))
    rows, count = prepared.train, len(parts.learned)
    own, copies = rows.numeric[:count], rows.numeric[count:]
    changed = 0
    for column in {feature.column for feature in teacher.spec.numeric}:
        at = [i for i, feature in enumerate(teacher.spec.numeric) if feature.column == column]
        known = {tuple(row) for row in own[:, at].tolist()}  # such as all parts of a date
        assert {tuple(row) for row in copies[:, at].tolist()} <= known
        changed += int(
            (copies[:, at] != own[:, at].repeat(len(copies) // count, 1)).any(dim=1).sum()
        )
    assert 0.05 < changed / (3 * len(copies)) < 0.35  # a quarter on average, and some are equal
    assert torch.equal(rows.row[:count], torch.from_numpy(parts.learned))
    assert torch.equal(rows.target[:count], torch.from_numpy(
        teacher.predictions_of(subset(table, parts.learned)).values[:, 0]))  # fmt: skip


def test_few_numbers_fit_into_memory(made, monkeypatch):
    teacher, path, _ = made["two"]
    table = teacher.read(path)
    parts = Parts.of(teacher, table, np.random.default_rng(0))
    width = len(teacher.spec.numeric) + len(teacher.spec.categorical)
    monkeypatch.setattr(module, "MOST_VALUES", 500 * width)
    prepared = module.prepared_for(teacher, table, parts, np.random.default_rng(0))
    assert len(prepared.train.row) + len(prepared.valid.row) == 500
    monkeypatch.setattr(module, "MOST_ROWS", 100)
    assert len(Parts.of(teacher, table, np.random.default_rng(0)).learned) == 90


@pytest.mark.parametrize(("most", "drawn"), [(200, 200), (0.1, module.LEAST_DRAWN)])
def test_of_a_wide_table_fewer_rows_are_drawn(made, monkeypatch, most, drawn):
    teacher, path, _ = made["two"]
    table = teacher.read(path)
    width = len(teacher.spec.numeric) + len(teacher.spec.categorical)
    monkeypatch.setattr(module, "MOST_VALUES", int(most * width))
    parts = Parts.of(teacher, table, np.random.default_rng(0))
    assert len(parts.learned) + len(parts.stopping) == drawn
    prepared = module.prepared_for(teacher, table, parts, np.random.default_rng(0))
    assert len(prepared.train.row) == len(parts.learned)  # no room for copies
    assert len(prepared.valid.row) == len(parts.stopping)


# ------------------------------------------------------------- calibration


def test_new_rows_with_a_target_calibrate_the_student(made, few_copies):
    for name in ("two", "number"):
        teacher, path, _ = made[name]
        target = TARGETS[name]
        new = table_of(target, rows_of(3_000, 2))
        rows = pd.concat([pd.read_csv(path, parse_dates=["day"]), new])
        parts, places = parts_of(teacher, rows)
        assert len(parts.calibration) == 720  # a fifth of all rows
        assert (places[parts.calibration] < TRAINING).all()
        distilled = sl.distill(teacher, rows)
        model = distilled.model
        assert model.conformal.rows == 720
        assert (
            model.conformal.source
            == "720 rows that neither the student nor its teacher learned from"
        )
        fresh = table_of(target, rows_of(2_000, 3))
        predictions = model.predictions(fresh)
        truth, _ = model.truth(predictions)
        assert 0.85 < model.conformal.inside(predictions.values, truth, 0.1).mean() < 0.95


def test_new_rows_alone_are_shared_between_calibration_and_measuring(made):
    teacher, _, _ = made["two"]
    parts, _ = parts_of(teacher, table_of("answer", rows_of(2_000, 4)))
    assert (len(parts.calibration), len(parts.measured)) == (200, 200)
    assert parts.held_out
    assert parts.measured_on == "200 rows that neither has learned from"
    few, _ = parts_of(teacher, table_of("answer", rows_of(300, 4)))
    assert len(few.calibration) == 0  # 60 would be too few
    assert len(few.learned) + len(few.stopping) == 300
    assert few.held_out  # those for early stopping, which are new to the teacher
    assert few.measured_on == "30 rows that neither has learned from"


def test_without_new_rows_sets_and_intervals_are_no_narrower_than_the_teachers(made):
    for name in ("three", "number"):
        teacher, _, distilled = made[name]
        own, theirs = distilled.model.conformal, teacher.conformal
        assert own.source.startswith("the teacher's (out-of-fold predictions of")
        if name == "three":
            assert own.set_limit(0.1) >= theirs.set_limit(0.1)
        else:
            low, high = own.ends(0.1)
            assert low <= theirs.ends(0.1)[0]
            assert high >= theirs.ends(0.1)[1]


def test_rows_that_only_the_teacher_has_learned_from_are_said_to_be_so(made):
    teacher, path, _ = made["two"]
    rows = pd.read_csv(path, parse_dates=["day"])
    _, places = parts_of(teacher, rows)
    only, _ = parts_of(teacher, rows.iloc[np.flatnonzero(places != TEST)])
    assert not only.held_out
    assert only.measured_on.startswith(
        "48 rows that the student did not learn from, but the teacher has learned from 48"
    )
    assert set(only.measured) <= set(only.stopping)


def test_a_model_that_does_not_know_its_rows(few_copies):
    table = sl.read(table_of("answer", rows_of(300, 0)))
    prepared = sl.prepare(sl.split(table, "answer"))
    training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=3)
    for _ in training:
        pass
    distilled = sl.distill(training.model(), table)
    assert "the teacher may have" in distilled.measured_on
    assert not distilled.held_out
    assert distilled.lines()[-1] == "No sets: the teacher has none, and too few rows are new to it."
    assert distilled.calibrated_on is None  # neither has scores
    with pytest.raises(OptionError, match="not calibrated"):
        distilled.model.predict_set(table)


def test_rows_without_a_target_teach_as_well(made, few_copies):
    teacher, path, _ = made["three"]
    rows = table_of("kind", rows_of(500, 7)).drop(columns="kind")
    distilled = sl.distill(teacher, rows)
    assert distilled.agreement > 0.85
    assert (distilled.teacher.loss, distilled.student.loss) == (None, None)
    assert distilled.rows["measured"] == 0
    assert not distilled.held_out
    assert "No sets: they need rows with a target." in distilled.lines()
    assert "only their agreement is known" in " ".join(distilled.lines())
    with pytest.raises(OptionError, match="not calibrated"):
        distilled.model.predict_set(rows)
    # Some with and some without: the others are measured.
    some = pd.read_csv(path, parse_dates=["day"])
    some.loc[some.index % 2 == 0, "kind"] = None
    parts, places = parts_of(teacher, some)
    assert 0 < len(parts.measured) < (places == TEST).sum()
    assert not set(parts.learned) & set(np.flatnonzero(places == TEST))


# ------------------------------------------------------------- groups and weights


def patients(numbers, seed):
    """Rows of three visits of each patient, with a weight."""
    who = np.repeat([f"p{number:03}" for number in numbers], 3)
    return table_of("answer", rows_of(len(who), seed)).assign(patient=who, w=1.0)


@pytest.fixture(scope="module")
def of_patients(tmp_path_factory):
    """A teacher of 200 patients whose rows have weights, and its rows."""
    rows = patients(range(200), 0)
    rows.loc[rows.index % 10 == 0, "w"] = 0
    folder = tmp_path_factory.mktemp("patients")
    return sl.fit(
        rows, "answer", group="patient", weight="w", run=folder / "run", **SMALL
    ).model, rows


def test_new_rows_of_known_groups_are_not_new(of_patients, few_copies):
    teacher, rows = of_patients
    _, places = parts_of(teacher, rows)
    learned = set(rows["patient"][places >= TRAINING])
    tested = set(rows["patient"][places == TEST])
    assert not learned & tested
    assert learned | tested == set(rows["patient"])
    visits = patients(range(800), 1)  # new ones of all known patients, and 600 new patients
    parts, _ = parts_of(teacher, visits)
    who = visits["patient"]
    assert set(who[parts.measured]) == tested
    assert len(parts.calibration) == 0.2 * len(visits)
    assert not set(who[parts.calibration]) & (learned | tested)
    # All rows are new, and none of their patients is.
    distilled = sl.distill(teacher, visits[who.isin(learned)])
    assert not distilled.held_out
    assert distilled.rows["calibration"] == 0
    assert "the teacher has learned from" in distilled.measured_on


def test_without_the_column_of_the_groups_any_row_may_be_known(of_patients, few_copies):
    teacher, _ = of_patients
    distilled = sl.distill(teacher, patients(range(300, 600), 1).drop(columns="patient"))
    assert not distilled.held_out
    assert distilled.rows["calibration"] == 0
    assert (
        "the teacher may have (it knows its own by the column 'patient', which is missing)"
        in distilled.measured_on
    )


def test_rows_of_weight_0_neither_calibrate_nor_measure(of_patients):
    teacher, rows = of_patients
    rows = pd.concat([rows, patients(range(200, 800), 1)], ignore_index=True)
    rows.loc[rows.index % 3 == 0, "w"] = 0
    for some in (rows, rows[600:].reset_index(drop=True)):  # with and without the test rows
        parts, _ = parts_of(teacher, some)
        assert len(parts.calibration) > 100
        assert (some["w"][parts.calibration] > 0).all()
        assert len(parts.measured)
        assert (some["w"][parts.measured] > 0).all()
        assert (some["w"][parts.learned] == 0).any()  # they need no weight
    few, _ = parts_of(teacher, rows[600:800].reset_index(drop=True))
    assert len(few.calibration) == 0
    assert set(few.measured) == {row for row in few.stopping if few.weight[row] > 0}
    assert 0 < len(few.measured) < len(few.stopping)


def test_weights_count_in_the_calibration(of_patients, few_copies):
    teacher, _ = of_patients
    rows = patients(range(200, 800), 1)
    wrong = rows.index % 2 == 0
    rows.loc[wrong, "answer"] = np.where(rows["answer"][wrong] == "yes", "no", "yes")
    rows.loc[wrong, "w"] = 1e-6
    weighted = sl.distill(teacher, rows).model
    alike = sl.distill(teacher, rows.drop(columns="w")).model
    assert alike.blend.temperature > 5  # half of the answers are wrong
    assert weighted.blend.temperature < 3
    table = teacher.read(rows, roles=("group", "weight"))
    parts = Parts.of(teacher, table, np.random.default_rng(0))
    values = weighted.predictions_of(subset(table, parts.calibration)).values
    weight = rows["w"].to_numpy()[parts.calibration]
    wanted = Conformal.fit_classes(values, parts.truth[parts.calibration], weight, source="")
    assert np.allclose(weighted.conformal.shares, wanted.shares, atol=1e-6)
    assert np.allclose(weighted.conformal.scores, wanted.scores)


def test_weights_count_where_the_teachers_calibration_is_kept(of_patients, few_copies):
    teacher, rows = of_patients
    rows = rows.copy()
    stopping = parts_of(teacher, rows)[0].stopping
    wrong = stopping[::2]
    rows.loc[wrong, "answer"] = np.where(rows["answer"][wrong] == "yes", "no", "yes")
    found = []
    for weight in (1.0, 1e-6):
        rows.loc[wrong, "w"] = weight
        parts, _ = parts_of(teacher, rows)
        assert len(parts.calibration) == 0
        assert np.array_equal(parts.stopping, stopping)
        found.append(sl.distill(teacher, rows).model.conformal.set_limit(0.1))
    assert found[0] > found[1] + 0.1  # the wrong answers count no more


def test_rows_with_a_target_need_a_valid_weight(of_patients):
    teacher, _ = of_patients
    for value, said in ((None, "missing"), (-1.0, "-1")):
        rows = patients(range(200, 300), 1)
        rows.loc[7, "w"] = value
        with pytest.raises(DataError, match=f"The weight 'w' of row 7 is {said}"):
            sl.distill(teacher, rows)
        rows.loc[7, "answer"] = None  # without a target it is only learned from
        assert 7 not in parts_of(teacher, rows)[0].measured
    with pytest.raises(DataError, match="'w' is 0 in every row"):
        sl.distill(teacher, patients(range(200, 300), 1).assign(w=0.0))


# ------------------------------------------------------------- a model like others


@pytest.mark.parametrize("name", TARGETS)
def test_its_file_predicts_the_same_also_as_onnx(made, name, tmp_path):
    _, path, distilled = made[name]
    model = distilled.model
    model.save(tmp_path / "s.sightline", onnx=True)
    again = sl.Model.load(tmp_path / "s.sightline")
    onnx = sl.OnnxModel.load(tmp_path / "s.sightline")
    values = model.predictions(path).values
    assert np.array_equal(again.predictions(path).values, values)
    scale = values.std() if name == "number" else 1
    assert np.abs(onnx.predictions(path).values - values).max() < 1e-5 * scale
    assert again.provenance["distilled"]["rows"] == distilled.rows
    assert again.explain(sl.read(path).row(0)).layers
    if name == "number":
        assert np.isfinite(again.predict_interval(path)).all()
    else:
        assert again.predict_set(path).any(axis=1).mean() > 0.8


def test_a_threshold_stays(made, few_copies):
    teacher, path, _ = made["two"]
    strict = teacher.with_threshold(0.9)
    student = sl.distill(strict, path).model
    assert student.threshold.value == 0.9
    probability = student.predict_proba(path)[:, student.classes.index("yes")]
    assert ((student.predict(path) == "yes") == (probability >= 0.9)).all()


def test_the_student_can_be_compared_with_new_rows(made):
    from sightline.evaluate.drift import check

    _, path, distilled = made["two"]
    assert not check(distilled.model, path)["alarm"]


def test_no_fold_is_held_out_from_the_student(made, tmp_path):
    _, path, distilled = made["two"]
    earlier = earlier_of(distilled.model.spec, distilled.model.encoder, distilled.model.rows)
    assert earlier.folds == 0
    assert (earlier.rows.places >= TRAINING).sum() == 480
    rows = pd.concat([pd.read_csv(path, parse_dates=["day"]), table_of("answer", rows_of(400, 9))])
    run, _ = sl.refit(rows, distilled.model, warm_start=True, run=tmp_path / "run", epochs=2, report=False, quiet=True)  # fmt: skip
    parts = run.find("load", "split")[-1].body
    assert parts["valid"] > 0
    assert parts["train"] >= 480


# ------------------------------------------------------------- bad input


def test_what_cannot_be_learned_from_is_refused(made):
    teacher, path, _ = made["two"]
    rows = pd.read_csv(path)
    with pytest.raises(DataError, match="'z'"):
        sl.distill(teacher, rows.drop(columns="z"))
    with pytest.raises(DataError, match="row 3: the class 'perhaps' is none of the model's"):
        sl.distill(teacher, rows.assign(answer=["yes"] * 3 + ["perhaps"] + ["no"] * 596))
    with pytest.raises(DataError, match="9 rows to learn from"):
        sl.distill(teacher, table_of("answer", rows_of(9, 8)))
    for seed in (-1, 1.5, True):
        with pytest.raises(OptionError, match="seed is"):
            sl.distill(teacher, rows, seed=seed)
    with pytest.raises(OptionError, match="Did you mean 'seed'"):
        sl.distill(teacher, rows, random_state=1)


def test_a_target_of_another_kind_counts_as_missing(made, few_copies):
    teacher, path, _ = made["number"]
    rows = pd.read_csv(path).assign(price="dear")
    distilled = sl.distill(teacher, rows)
    assert distilled.teacher.loss is None


@pytest.mark.parametrize(("name", "more"), [("two", 0), ("number", 1_000)])
def test_rows_that_cannot_be_read_are_left_out(made, few_copies, name, more):
    teacher, path, _ = made[name]
    rows = pd.read_csv(path, parse_dates=["day"])
    if more:
        new = table_of(TARGETS[name], rows_of(more, 2))
        rows = pd.concat([rows, new], ignore_index=True)
    bad = [3, 5, 40, 41, 42, len(rows) - 1]  # the last one is beyond the end of each part
    rows = rows.astype({"z": object})
    rows.loc[bad, "z"] = "much"
    distilled = sl.distill(teacher, rows)
    assert distilled.rows["left_out"] == len(bad)
    parts = ("learned", "stopping", "calibration", "measured")
    assert sum(distilled.rows[part] for part in parts) == len(rows) - len(bad)
    assert (distilled.rows["calibration"] > 0) == (more > 0)
    values = distilled.model.predictions(rows).values
    assert np.isnan(values[bad]).all()
    assert np.isfinite(np.delete(values, bad, axis=0)).all()
    assert distilled.agreement > 0.8
    for side in (distilled.teacher, distilled.student):
        assert np.isfinite([side.loss, side.score]).all()
    conformal = distilled.model.conformal
    assert np.isfinite(np.concatenate([conformal.scores, conformal.shares, conformal.sizes])).all()
    assert np.isfinite(list(distilled.model.blend.weights.values())).all()
    if more:
        assert conformal.rows == distilled.rows["calibration"]


# ------------------------------------------------------------- on the command line


@pytest.fixture(scope="module")
def saved(made, tmp_path_factory):
    teacher, path, _ = made["three"]
    folder = tmp_path_factory.mktemp("saved")
    teacher.save(folder / "teacher.sightline")
    return folder / "teacher.sightline", path


def test_the_command_writes_the_student_and_shows_both(saved, sightline, tmp_path, few_copies):
    model, path = saved
    said = sightline("distill", model, path, "-o", tmp_path / "s.sightline")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[1].split() == ["log", "loss", "accuracy", "rows", "a", "second", "file"]
    assert [line.split()[0] for line in lines[2:4]] == ["teacher", "student"]
    assert "neither has learned from" in lines[4]
    said = sightline(
        "predict", tmp_path / "s.sightline", path, "-o", tmp_path / "p.csv", "--alpha", "0.1"
    )
    assert said.code == 0, said.err
    assert len(pd.read_csv(tmp_path / "p.csv")) == 600
    said = sightline(
        "distill", model, path, "-o", tmp_path / "s.sightline", "--seed", "3", "--json"
    )
    body = json.loads(said.out)
    assert body["metrics"] == ["log_loss", "accuracy"]
    assert body["student"]["bytes"] == (tmp_path / "s.sightline").stat().st_size
    assert sightline("distill", model, path, "-o", tmp_path / "s.sightline", "--quiet").out == ""


def test_the_command_overwrites_neither_the_model_nor_the_rows(saved, sightline, tmp_path):
    model, path = saved
    kept = model.read_bytes(), path.read_bytes()
    for output, what in (
        (model, "is the model"),
        (path, "is the rows to learn from"),
        (tmp_path, "is a folder"),
    ):
        said = sightline("distill", model, path, "-o", output)
        assert said.code == 2
        assert what in said.err
    assert (model.read_bytes(), path.read_bytes()) == kept
    assert sightline("distill", model, path).code == 2  # no file to write
    said = sightline("distill", tmp_path / "none.sightline", path, "-o", tmp_path / "s.sightline")
    assert said.code == 2
    said = sightline("distill", model, tmp_path / "none.csv", "-o", tmp_path / "s.sightline")
    assert said.code == 2
    assert "none.csv" in said.err
    assert not (tmp_path / "s.sightline").exists()
