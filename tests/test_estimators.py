"""The scikit-learn interface: every check of scikit-learn's, and what its checks do not ask."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import sightline as sl
from sightline.errors import OptionError
from sightline.estimators import SightlineClassifier, SightlineRegressor

FAST = {"quality": "fast", "epochs": 3, "random_state": 0}
BATCHES = (
    "rows are drawn into mini-batches: a row of weight 2 is in one batch, the same row twice may be in "
    "two, so that the two are equal on average and not to the bit"
)


def expected_failed_checks(estimator):
    return {
        "check_sample_weight_equivalence_on_dense_data": BATCHES,
        "check_sample_weight_equivalence_on_sparse_data": BATCHES,
    }


@parametrize_with_checks(
    [SightlineClassifier(**FAST), SightlineRegressor(**FAST)],
    expected_failed_checks=expected_failed_checks,
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


# ------------------------------------------------------------- what comes in


def mixed(rows=120, seed=0):
    random = np.random.default_rng(seed)
    size = random.normal(size=rows)
    frame = pd.DataFrame({
        "size": size, "city": pd.Categorical(random.choice(["a", "b", "c"], rows)),
        "word": random.choice(["x", "y"], rows), "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(rows), "D"),
        "good": random.random(rows) > 0.5,
    })  # fmt: skip
    frame.loc[3, "size"], frame.loc[5, "city"], frame.loc[6, "word"] = np.nan, np.nan, None
    y = np.where(size + (frame["city"] == "b") > 0.3, "yes", "no")
    return frame, y


def test_a_frame_keeps_its_kinds():
    X, y = mixed()
    fitted = SightlineClassifier(**FAST).fit(X, y)
    kinds = {column.name: column.kind for column in fitted.model_.encoder.schema.features}
    assert kinds["size"] == "numeric"
    assert kinds["city"] == kinds["word"] == "categorical"
    assert kinds["day"] == "datetime"
    assert kinds["good"] == "boolean"
    assert fitted.classes_.tolist() == ["no", "yes"]
    assert fitted.feature_names_in_.tolist() == list(X.columns)
    assert fitted.n_features_in_ == 5
    assert fitted.score(X, y) > 0.7
    values = fitted.predict_proba(X)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("make", [pl.from_pandas, pa.Table.from_pandas], ids=["polars", "arrow"])
def test_other_frames_give_the_same(make):
    X, y = mixed()
    X = X[["size", "good"]]
    expected = SightlineClassifier(**FAST).fit(X, y).predict_proba(X)
    other = make(X)
    np.testing.assert_allclose(
        SightlineClassifier(**FAST).fit(other, y).predict_proba(other), expected, rtol=1e-6
    )


def test_kinds_may_be_told():
    X, y = mixed()
    X["code"] = np.arange(len(X)) % 4
    fitted = SightlineClassifier(kinds={"code": "categorical"}, **FAST).fit(X, y)
    assert fitted.model_.encoder.schema["code"].kind == "categorical"
    for given in (X, np.zeros((len(X), 2))):
        with pytest.raises(ValueError, match="'cod', which X does not have"):
            SightlineClassifier(kinds={"cod": "categorical"}, **FAST).fit(given, y)
        with pytest.raises(ValueError, match="the column 0, which X does not have"):
            SightlineClassifier(kinds={0: "categorical"}, **FAST).fit(given, y)
    codes = np.arange(len(X))[:, None] % 4.0
    fitted = SightlineClassifier(kinds={"x0": "categorical"}, **FAST).fit(codes, y)
    assert fitted.model_.encoder.schema["x0"].kind == "categorical"


def test_one_number_in_every_row_is_nothing_to_learn():
    with pytest.raises(ValueError, match="y is 3 in every row"):
        SightlineRegressor(**FAST).fit(np.arange(20.0)[:, None], np.full(20, 3.0))


def test_columns_named_as_the_target_and_the_weight():
    X, y = mixed()
    X = X.rename(columns={"size": "target", "city": "weight"})
    weight = np.linspace(0.5, 2, len(y))
    fitted = SightlineClassifier(**FAST).fit(X, y, sample_weight=weight)
    assert {"target", "weight"} <= set(fitted.feature_names_in_)


def test_whole_numbers_of_few_values_are_numbers_in_an_array():
    random = np.random.default_rng(0)
    X = random.integers(0, 3, size=(60, 2))
    fitted = SightlineRegressor(**FAST).fit(X, X[:, 0] * 2.0 + random.normal(size=60))
    assert {column.kind for column in fitted.model_.encoder.schema.features} == {"numeric"}


@pytest.mark.parametrize("labels", [["b", "a"], [7, -3], [True, False], [2.5, 1.5], [1.0, 0.0]])
def test_labels_come_back_as_they_were(labels):
    X, y = mixed()
    y = np.where(y == "yes", *labels) if not isinstance(labels[0], bool) else y == "yes"
    if isinstance(labels[0], float) and labels[0] % 1:
        with pytest.raises(ValueError, match="Unknown label type"):
            SightlineClassifier(**FAST).fit(X, y)
        return
    fitted = SightlineClassifier(**FAST).fit(X, y)
    assert fitted.classes_.tolist() == sorted(labels)
    assert fitted.predict(X).dtype == y.dtype
    assert (fitted.predict(X) == y).mean() > 0.6


@pytest.mark.parametrize(
    "labels", [["yes", "maybe"], ["nein", "ja"], ["no", "yes"], [" b", "a "], [False, True], [0, 1]]
)
def test_the_positive_class_is_the_second_as_in_scikit_learn(labels):
    X, y = mixed()
    fitted = SightlineClassifier(**FAST).fit(X, np.array(labels)[(y == "yes").astype(int)])
    assert fitted.model_.spec.target.positive == fitted.classes_[1]


def test_infinity_in_a_frame_is_named():
    X, y = mixed()
    X.loc[0, "size"] = np.inf
    with pytest.raises(ValueError, match=r"infinity \(column 'size'\)"):
        SightlineClassifier(**FAST).fit(X, y)


@pytest.mark.parametrize("X", [pd.DataFrame(index=range(5)), pd.DataFrame({"a": []})])
def test_empty_frames(X):
    with pytest.raises(ValueError, match="a minimum of 1 is required"):
        SightlineClassifier(**FAST).fit(X, np.arange(len(X)) % 2 if len(X) else np.array([0, 1]))


# ------------------------------------------------------------- weights


@pytest.mark.parametrize("kind", [SightlineClassifier, SightlineRegressor])
def test_rows_of_weight_zero_change_nothing(kind):
    X, y = load_iris(return_X_y=True)
    y = y if kind is SightlineClassifier else X[:, 0] * 2
    weight = np.ones(150)
    weight[::3] = 0
    other_X, other_y = X.copy(), y.copy()
    other_X[::3] = 1e6
    other_y[::3] = other_y[1]
    first = kind(**FAST).fit(X, y, sample_weight=weight)
    second = kind(**FAST).fit(other_X, other_y, sample_weight=weight)
    third = kind(**FAST).fit(X[weight > 0], y[weight > 0])
    predict = "predict_proba" if kind is SightlineClassifier else "predict"
    expected = getattr(first, predict)(X)
    assert (getattr(second, predict)(X) == expected).all()
    assert (getattr(third, predict)(X) == expected).all()


def test_a_class_of_weight_zero_is_no_class():
    X, y = load_iris(return_X_y=True)
    fitted = SightlineClassifier(**FAST).fit(X, y, sample_weight=(y != 1).astype(float))
    assert fitted.classes_.tolist() == [0, 2]
    assert fitted.predict_proba(X).shape == (150, 2)


def test_weights_of_nothing_at_all():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="at least one non-zero"):
        SightlineClassifier(**FAST).fit(X, y, sample_weight=np.zeros(150))


# ------------------------------------------------------------- among scikit-learn's own


def test_pipelines_and_searches():
    X, y = mixed()
    scaled = ColumnTransformer([("scale", StandardScaler(), ["size"])], remainder="passthrough")
    scaled.set_output(transform="pandas")
    assert make_pipeline(scaled, SightlineClassifier(**FAST)).fit(X, y).score(X, y) > 0.6
    search = GridSearchCV(SightlineClassifier(**FAST), {"learning_rate": [1e-6, 1e-2]}, cv=2)
    assert search.fit(X, y).best_params_ in [{"learning_rate": 1e-2}, {"learning_rate": 1e-6}]
    assert (
        len(cross_val_score(SightlineRegressor(**FAST), X[["size"]], X.index.to_numpy(float), cv=2))
        == 2
    )


def test_the_default_quality_and_its_sets():
    X, y = load_iris(return_X_y=True, as_frame=True)
    fitted = SightlineClassifier(trees=True, random_state=1).fit(X, y)
    assert fitted.score(X, y) > 0.9
    sets = fitted.predict_set(X, alpha=0.1)
    assert sets.shape == (150, 3)
    assert sets[np.arange(150), y].mean() > 0.85
    assert fitted.model_.trees is not None
    alone = SightlineClassifier(trees=False, quality="fast", random_state=1).fit(X, y)
    assert alone.model_.trees is None


def test_intervals():
    X, _ = load_iris(return_X_y=True)
    fitted = SightlineRegressor(**FAST).fit(X[:, 1:], X[:, 0])
    low, high = fitted.predict_interval(X[:, 1:], alpha=0.2).T
    assert 0.7 < ((low <= X[:, 0]) & (X[:, 0] <= high)).mean() <= 1


def test_the_same_random_state_gives_the_same_and_the_world_is_left_alone():
    X, y = load_iris(return_X_y=True)
    before = np.random.get_state()[1].copy()
    first = SightlineClassifier(**FAST).fit(X, y).predict_proba(X)
    assert (np.random.get_state()[1] == before).all()
    assert (clone(SightlineClassifier(**FAST)).fit(X, y).predict_proba(X) == first).all()
    other = SightlineClassifier(**{**FAST, "random_state": 1}).fit(X, y).predict_proba(X)
    assert not (other == first).all()


def test_a_network_of_your_own():
    X, y = load_iris(return_X_y=True)
    fitted = SightlineClassifier(network=sl.MLP, epochs=30, learning_rate=0.01, random_state=0).fit(
        X, y
    )
    assert type(fitted.model_.network) is sl.MLP
    assert fitted.score(X, y) > 0.8


def test_a_threshold():
    random = np.random.default_rng(0)
    X = random.normal(size=(600, 2))
    y = X[:, 0] + random.normal(size=600) > 1.8
    fitted = SightlineClassifier(threshold="f1", **FAST).fit(X, y)
    assert fitted.model_.threshold.value < 0.5
    plain = SightlineClassifier(**FAST).fit(X, y)
    assert fitted.predict(X).sum() > plain.predict(X).sum()
    np.testing.assert_array_equal(fitted.predict_proba(X), plain.predict_proba(X))


# ------------------------------------------------------------- keeping


def test_save_and_load(tmp_path):
    X, y = mixed()
    fitted = SightlineClassifier(**FAST).fit(X, y)
    fitted.save(tmp_path / "m.sightline")
    again = SightlineClassifier.load(tmp_path / "m.sightline")
    assert (again.predict_proba(X) == fitted.predict_proba(X)).all()
    assert (again.predict(X) == fitted.predict(X)).all()
    assert sl.Model.load(tmp_path / "m.sightline").classes == ("no", "yes")
    with pytest.raises(OptionError, match=r"SightlineClassifier\.load"):
        SightlineRegressor.load(tmp_path / "m.sightline")
    regressor = SightlineRegressor(**FAST).fit(X[["size"]], np.arange(len(X)) * 1.0)
    regressor.save(tmp_path / "r.sightline")
    assert (
        SightlineRegressor.load(tmp_path / "r.sightline").predict(X[["size"]])
        == regressor.predict(X[["size"]])
    ).all()
    with pytest.raises(OptionError, match=r"SightlineRegressor\.load"):
        SightlineClassifier.load(tmp_path / "r.sightline")


def test_a_pickle_predicts_the_same():
    X, y = load_iris(return_X_y=True)
    fitted = SightlineClassifier(**FAST).fit(X, y)
    assert (pickle.loads(pickle.dumps(fitted)).predict_proba(X) == fitted.predict_proba(X)).all()


@pytest.mark.parametrize("what", ["predict", "predict_proba", "predict_set"])
def test_before_fit(what):
    with pytest.raises(NotFittedError):
        getattr(SightlineClassifier(), what)([[1.0]])
    with pytest.raises(NotFittedError):
        SightlineClassifier().save("m.sightline")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"quality": "fats"}, "Did you mean 'fast'"), ({"epochs": 0}, "epochs is 0"),
     ({"eval_metric": "auc"}, "roc_auc"), ({"threshold": "f2"}, "threshold is 'f2'")],
)  # fmt: skip
def test_options_that_make_no_sense(options, message):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(OptionError, match=message):
        SightlineClassifier(**{"quality": "fast", **options}).fit(X[:100], y[:100])


def test_an_empty_text_is_a_class_like_any_other():
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 1))
    y = np.array(["", "a", "b"])[np.digitize(x[:, 0], [-0.5, 0.5])]
    classifier = sl.SightlineClassifier(quality="fast", random_state=0).fit(x, y)
    assert classifier.classes_.tolist() == ["", "a", "b"]
    assert classifier.predict_proba(x).shape == (300, 3)
    assert classifier.score(x, y) > 0.9


@pytest.mark.parametrize("kind", [SightlineClassifier, SightlineRegressor])
def test_rows_that_cannot_be_read_are_refused(kind):
    x = np.random.default_rng(0).normal(size=(120, 2))
    y = x[:, 0] if kind is SightlineRegressor else x[:, 0] > 0
    fitted = kind(quality="fast").fit(pa.table({"a": x[:, 0], "b": x[:, 1]}), y)
    for bad in (["hello", "1"], [np.inf, 1.0]):
        rows = pa.table({"a": bad, "b": [0.0, 0.0]})
        for ask in (
            "predict",
            "predict_interval" if kind is SightlineRegressor else "predict_proba",
        ):
            with pytest.raises(
                ValueError, match=r"row 0: column 'a': '(hello|inf)' is not a finite"
            ):
                getattr(fitted, ask)(rows)


# ------------------------------------------------------------- arrays and frames, missing labels


@pytest.mark.parametrize("first", ["frame", "array"])
def test_columns_count_by_position_with_a_warning(first):
    X = pd.DataFrame(
        np.random.default_rng(0).normal(size=(120, 3)), columns=["age", "income", "years"]
    )
    y = np.where(X["age"] + X["income"] > 0, 1, 0)
    fit, use = (X, X.to_numpy()) if first == "frame" else (X.to_numpy(), X)
    for kind, target in ((SightlineClassifier, y), (SightlineRegressor, X["age"] * 2)):
        fitted = kind(**FAST).fit(fit, target)
        predict = "predict_proba" if kind is SightlineClassifier else "predict"
        expected = getattr(fitted, predict)(fit)
        with pytest.warns(UserWarning, match="feature names"):
            found = getattr(fitted, predict)(use)
        assert (found == expected).all()


@pytest.mark.parametrize("dtype", [object, "category", "string", "str"])
def test_missing_labels_are_counted(dtype):
    y = pd.Series(["good", "poor"] * 30, dtype=object)
    y[::20] = None
    with pytest.raises(
        ValueError, match=r"Input y contains missing labels \(3\): leave these samples out"
    ):
        SightlineClassifier(**FAST).fit(np.ones((60, 1)), y.astype(dtype))
