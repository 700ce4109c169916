"""The comparison with other systems: its splits, files, budgets and statistics, without fitting anything."""

import json
import math
import sys

import numpy as np
import pytest

from benchmarks import peers, quality, quality_fits, quality_summary

# ------------------------------------------------------------- splits

CLASS_N = np.repeat([0, 1, 2], [120, 60, 20])
NUMBER_N = np.linspace(0, 1, 200)


@pytest.mark.parametrize(("y_N", "classify"), [(CLASS_N, True), (NUMBER_N, False)])
@pytest.mark.parametrize("seed", [100, 101, 102, 137])
def test_a_development_split_never_touches_the_test_rows_of_its_figures_split(y_N, classify, seed):
    figures_train, figures_test = peers.split(y_N, classify, seed % 3)
    train, test = peers.split(y_N, classify, seed)
    assert not set(figures_test) & {*train, *test}
    assert not set(train) & set(test)
    assert {*train, *test} == set(figures_train)
    assert len(test) == 32


def test_the_figures_splits_are_scikit_learns():
    from sklearn.model_selection import train_test_split

    for seed in range(3):
        train, test = train_test_split(np.arange(200), test_size=0.2, random_state=seed, stratify=CLASS_N)  # fmt: skip
        np.testing.assert_array_equal(peers.split(CLASS_N, True, seed)[0], train)
        np.testing.assert_array_equal(peers.split(CLASS_N, True, seed)[1], test)


def test_both_kinds_of_splits_are_stratified():
    for seed in (0, 100):
        _, test = peers.split(CLASS_N, True, seed)
        share_K = np.bincount(CLASS_N[test]) / len(test)
        np.testing.assert_allclose(share_K, [0.6, 0.3, 0.1], atol=0.02)


def test_a_split_says_which_rows_it_has(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,c,y\n" + "".join(f"{i},{'ab'[i % 2]},{'no' if i % 3 else 'yes'}\n" for i in range(60)))  # fmt: skip
    one, again, other = (peers.read(str(path), None, [], seed) for seed in (0, 0, 1))
    facts = one.facts()
    assert (facts["rows"], facts["numeric"], facts["categorical"], facts["classes"]) == (60, 1, 1, 2)  # fmt: skip
    assert one.fingerprint == again.fingerprint != other.fingerprint
    assert peers.read(str(path), None, ["x"], 0).fingerprint != one.fingerprint


def test_small_tables_get_ten_splits():
    assert quality.seeds_for(4_999) == list(range(10))
    assert quality.seeds_for(5_000) == [0, 1, 2]


@pytest.mark.parametrize(("text", "seeds"), [("0-2", [0, 1, 2]), ("100-102", [100, 101, 102]), ("7,0-1,1", [0, 1, 7])])  # fmt: skip
def test_seeds_are_read(text, seeds):
    assert quality_fits.seeds_of(text) == seeds


@pytest.mark.parametrize(("text", "words"), [("2-0", "are no seeds"), ("x", "are no seeds"), ("", "are no seeds"), ("99-100", "mixes")])  # fmt: skip
def test_bad_seeds_are_refused(text, words):
    with pytest.raises(ValueError, match=words):
        quality_fits.seeds_of(text)


# ------------------------------------------------------- names and files


def test_budgets_are_read():
    assert quality_fits.System.of("ours") == quality_fits.System("ours", None)
    assert quality_fits.System.of("ours-best@120") == quality_fits.System("ours-best", 120)
    assert str(quality_fits.System.of("autogluon-best@300")) == "autogluon-best@300"


@pytest.mark.parametrize(
    ("text", "words"),
    [("our", "no system 'our'"), ("autogluon-best", "needs a time limit"), ("lightgbm@30", "has no option"),
     ("ours@0", "whole number"), ("ours@", "whole number"), ("ours@2.5", "whole number")],
)  # fmt: skip
def test_bad_systems_are_refused(text, words):
    with pytest.raises(ValueError, match=words):
        quality_fits.System.of(text)


def test_the_command_line_says_what_is_wrong(capsys):
    with pytest.raises(SystemExit):
        quality.parse(["t.csv", "--systems", "ours,autogluon-medium"])
    assert "autogluon-medium needs a time limit" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        quality.parse([])
    assert "--summary-only" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "short"),
    [("Intel(R) Xeon(R) Platinum 8488C CPU @ 2.40GHz", "intel-xeon-platinum-8488c"), ("AMD EPYC 9R14 96-Core Processor", "amd-epyc-9r14"),
     ("Intel(R) Xeon(R) Processor", "intel-xeon"), ("", "unknown")],
)  # fmt: skip
def test_processors_have_short_names(name, short):
    assert quality_fits.slug(name) == short


KEY = quality_fits.Key(
    quality_fits.System("ours-best", 120), "0.1.0-fe67c67+changes.09ab", "adult", 2, "intel-xeon"
)


def test_a_file_is_named_by_all_that_distinguishes_a_fit(tmp_path):
    path = KEY.path(tmp_path)
    assert path.relative_to(tmp_path).as_posix() == "quality/adult/ours-best@120_0.1.0-fe67c67+changes.09ab_s2_intel-xeon.json"  # fmt: skip
    others = [KEY._replace(system=quality_fits.System("ours-best")), KEY._replace(system=quality_fits.System("ours", 120)), KEY._replace(version="0.1.0"),
              KEY._replace(table="ames"), KEY._replace(seed=3), KEY._replace(processor="amd-epyc")]  # fmt: skip
    assert len({path, *(other.path(tmp_path) for other in others)}) == 7


def test_a_fit_with_a_file_is_not_measured_again_but_a_failed_one_is(tmp_path):
    path, source = KEY.path(tmp_path), {"sha256": "a", "target": None, "categories": []}
    assert not quality_fits.measured(path, source)
    for outcome, counts in (({"score": 1.0}, True), ({"cut": "slow"}, True), ({"failed": "no memory"}, False)):  # fmt: skip
        quality_fits.write(path, {**KEY.fields(), "source": source, **outcome})
        assert quality_fits.measured(path, source) is counts
    with pytest.raises(ValueError, match="another table of this name"):
        quality_fits.measured(path, {**source, "sha256": "b"})
    [fit] = quality_fits.stored(tmp_path)
    assert quality_fits.label(fit) == "ours-best@120"


TABLE = "x,y\n" + "".join(f"{i},{i % 2}\n" for i in range(20))


def run(tmp_path, monkeypatch, outcome, *words):
    """Measure one table with `fit` replaced; return the jobs that it got."""
    (tmp_path / "t.csv").write_text(TABLE)
    jobs = []

    def fit(job, python, module):
        jobs.append((job["model"], job["seed"]))
        return dict(outcome)

    monkeypatch.setattr(quality, "fit", fit)
    given = quality.parse([str(tmp_path / "t.csv"), "--folder", str(tmp_path), "--systems", "hgb,mlp", *words])  # fmt: skip
    quality.measure(given)
    return jobs


SCORED = {"score": 0.5, "fit_seconds": 1.0}


def test_a_measurement_resumes(tmp_path, monkeypatch):
    both = [("hgb", 0), ("mlp", 0), ("hgb", 1), ("mlp", 1)]
    assert run(tmp_path, monkeypatch, {"failed": "no"}, "--seeds", "0-1") == both
    assert run(tmp_path, monkeypatch, SCORED, "--seeds", "0-1") == both
    assert run(tmp_path, monkeypatch, SCORED, "--seeds", "0-2") == [("hgb", 2), ("mlp", 2)]
    assert run(tmp_path, monkeypatch, SCORED, "--seeds", "0-1", "--redo", "mlp") == [("mlp", 0), ("mlp", 1)]  # fmt: skip
    assert len(run(tmp_path, monkeypatch, SCORED)) == 2 * 7
    with pytest.raises(ValueError, match="--redo ours: --systems must name it"):
        run(tmp_path, monkeypatch, SCORED, "--redo", "ours")


def test_a_system_that_was_stopped_is_not_tried_with_other_seeds(tmp_path, monkeypatch):
    assert run(tmp_path, monkeypatch, {"cut": "slow"}, "--seeds", "0-2") == [("hgb", 0), ("mlp", 0)]
    assert all("cut" in fit for fit in quality_fits.stored(tmp_path))
    assert run(tmp_path, monkeypatch, SCORED, "--seeds", "0-2", "--redo", "hgb") == [("hgb", 0), ("hgb", 1), ("hgb", 2)]  # fmt: skip


def test_tables_are_counted_and_bad_ones_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('x,y\n"a\nb",1\nc,2\n')
    found = quality.tables([f"{path}:x"], {"t": ["x"]})["t"]
    assert found["rows"] == 2
    assert (found["source"]["target"], found["source"]["categories"]) == ("x", ["x"])
    with pytest.raises(ValueError, match="does not exist"):
        quality.tables([str(tmp_path / "none.csv")], {})
    with pytest.raises(ValueError, match="Two files are called t"):
        quality.tables([str(path), str(path)], {})


def test_the_version_of_ours_is_that_of_its_files(tmp_path):
    def git(*words):
        name = ["-c", "user.name=a", "-c", "user.email=a@b"]
        quality.subprocess.run(["git", "-C", str(tmp_path), *name, *words], check=True, capture_output=True)  # fmt: skip

    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("1\n")
    assert quality_fits.our_version("0.1", tmp_path / "package") == {"version": "0.1"}
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    clean = quality_fits.our_version("0.1", package)
    assert len(clean["version"]) == len("0.1-1234567")
    (tmp_path / "result.json").write_text("{}")
    git("add", ".")
    git("commit", "-m", "a result")
    assert quality_fits.our_version("0.1", package) == clean
    (package / "a.py").write_text("2\n")
    changed = quality_fits.our_version("0.1", package)["version"]
    assert changed.startswith(clean["version"] + "+changes.")
    (package / "a.py").write_text("3\n")
    assert quality_fits.our_version("0.1", package)["version"] != changed


def test_what_is_not_installed_is_said():
    with pytest.raises(ValueError, match="give --autogluon-python"):
        quality.version_of(quality_fits.System("autogluon-best", 9), None)
    with pytest.raises(ValueError, match=r"no autogluon\.tabular installed"):
        quality.version_of(quality_fits.System("autogluon-best", 9), sys.executable)
    with pytest.raises(ValueError, match="No such file"):
        quality.version_of(quality_fits.System("autogluon-best", 9), "/none/python")


# ---------------------------------------------------------- statistics


def test_equal_losses_share_their_rank():
    assert quality_summary.ranks({"a": 0.2, "b": 0.1, "c": 0.2, "d": math.inf}) == {"a": 2.5, "b": 1, "c": 2.5, "d": 4}  # fmt: skip


def test_ours_are_ranked_one_at_a_time():
    losses = {"t": {"ours": 2.0, "ours-best@9": 1.0, "a": 1.5, "b": 3.0}, "u": {"ours": 1.0, "ours-best@9": 4.0, "a": 2.0, "b": 3.0}}  # fmt: skip
    assert quality_summary.mean_ranks(losses) == {"ours": 1.5, "a": 1.5, "ours-best@9": 2.0, "b": 3.0}  # fmt: skip


def test_log_ratios_are_paired_by_seed():
    mine = {"t": {0: 1.0, 1: 4.0, 2: 9.0}, "u": {0: 3.0}, "v": {0: 1.0}, "w": {0: 0.0}}
    theirs = {"t": {0: 2.0, 1: 2.0}, "u": {0: 1.0}, "w": {0: 1.0}}
    ratios = quality_summary.log_ratios(mine, theirs)
    assert ratios == pytest.approx({"t": 0.0, "u": math.log(3)})


def test_the_interval_is_that_of_the_means_of_drawn_tables():
    # of two tables, a quarter of the draws has the first twice, a quarter the second
    assert quality_summary.interval([0.0, 1.0]) == (0.0, 1.0)
    assert quality_summary.interval([0.5] * 7) == (0.5, 0.5)
    low, high = quality_summary.interval(np.linspace(-1, 1, 101))
    error = np.linspace(-1, 1, 101).std() / math.sqrt(101)
    assert (low, high) == pytest.approx((-1.96 * error, 1.96 * error), abs=0.01)
    assert quality_summary.interval([1.0, 2.0, 4.0]) == quality_summary.interval([1.0, 2.0, 4.0])


def test_within_looks_at_the_lower_end():
    assert quality_summary.compare({"t": math.log(1.019), "u": math.log(1.5)})["within"]
    found = quality_summary.compare({"t": math.log(1.03), "u": math.log(1.03)})
    assert found == {"percent": 3.0, "low": 3.0, "high": 3.0, "within": False, "tables": 2}


def test_ratios_of_totals_and_of_tables():
    mine, theirs = {"t": {0: 1.0, 1: 3.0}, "u": {0: 8.0}}, {"t": {0: 4.0, 1: 4.0, 2: 9.0}, "u": {0: 4.0}}  # fmt: skip
    assert quality_summary.ratio(mine, theirs) == {"total": 1.25, "by_table": {"t": 0.5, "u": 2.0}}
    assert quality_summary.ratio(mine, {}) == {}


def test_coverage_is_that_of_ten_groups_by_prediction():
    predicted_N = np.arange(20)[::-1]
    inside_N = np.arange(20) >= 2  # the two highest predictions are outside
    assert peers.tenths(predicted_N, inside_N)["coverage_by_tenth"] == [1.0] * 9 + [0.0]


def test_coverage_of_classes_is_weighted_by_their_rows():
    def fit(**classes):
        parts = {name: {"coverage": c, "rows": n} for name, (c, n) in classes.items()}
        return {"coverage": 0.8, "mean_size": 1.0, "coverage_by_class": parts}

    found = quality_summary.coverage({0: fit(a=(1.0, 3), b=(0.5, 2)), 1: fit(a=(0.0, 1))})
    assert found["by_class"] == {"a": {"coverage": 0.75, "rows": 4}, "b": {"coverage": 0.5, "rows": 2}}  # fmt: skip


# ------------------------------------------------------------- summary


def a_fit(system, table="t", seed=0, score=1.0, **other):
    name, _, budget = system.partition("@")
    return {
        "system": name, "budget": int(budget) if budget else None, "version": "1", "table": table, "seed": seed,
        "processor": "p", "threads": 2, "when": "2026-01-01", "task": "regression", "classes": 0, "rows": 100, "numeric": 3,
        "fingerprint": f"{table}{seed}", "score": score, "fit_seconds": 2.0, "predict_seconds": 1.0, "predict_rows": 10,
        "memory_mb": 100.0, "coverage": 0.9, "mean_size": 1.0, "coverage_by_tenth": [0.9] * 10, **other,
    }  # fmt: skip


def test_the_summary_takes_the_newest_commit_of_ours_or_the_one_named():
    fits = [
        a_fit("ours", score=3.0, version="old", commit_date="2026-01-01", when="2026-03-01"),
        a_fit("ours", score=2.0, version="new", commit_date="2026-02-01", when="2026-02-02"),
        a_fit("hgb"),
    ]  # fmt: skip
    newest = quality_summary.summarise(fits)
    assert newest["losses"] == {"t": {"ours": 2.0, "hgb": 1.0}}
    assert newest["left_out"] == ["ours old"]
    assert quality_summary.summarise(fits, "old")["losses"]["t"]["ours"] == 3.0
    with pytest.raises(ValueError, match="No fit of ours has version 3; measured are: new, old"):
        quality_summary.summarise(fits, "3")


def test_times_count_from_one_processor_and_scores_from_any():
    fits = [a_fit("ours"), a_fit("catboost", fit_seconds=8.0), a_fit("ours", "u"), a_fit("catboost", "u", processor="q", fit_seconds=99.0)]  # fmt: skip
    summary = quality_summary.summarise(fits)
    assert summary["processor"] == "p"
    assert set(summary["losses"]) == {"t", "u"}
    assert summary["fit_to_catboost"]["ours"] == {"total": 0.25, "by_table": {"t": 0.25}}
    assert summary["fit_seconds"]["catboost"] == {"total": 8.0, "tables": 1}
    assert summary["memory_to_catboost"]["ours"]["by_table"] == {"t": 1.0, "u": 1.0}


def test_a_table_that_a_system_has_not_tried_is_not_ranked_and_a_failed_fit_is_last():
    failed = {key: value for key, value in a_fit("mlp").items() if key not in ("score", "fingerprint", "fit_seconds")}  # fmt: skip
    fits = [a_fit("ours"), a_fit("hgb", score=2.0), {**failed, "failed": "no memory"}, a_fit("ours", "u")]  # fmt: skip
    summary = quality_summary.summarise(fits)
    assert summary["mean_rank"] == {"ours": 1.0, "hgb": 2.0, "mlp": 3.0}
    assert summary["not_ranked"] == ["u"]
    assert summary["without_score"] == [{"table": "t", "system": "mlp", "seed": 0, "why": "no memory"}]  # fmt: skip
    assert summary["against"]["ours"]["hgb"]["regression"]["percent"] == -50
    assert "two classes" not in summary["against"]["ours"]["hgb"]
    json.dumps(summary, allow_nan=False)
    quality_summary.show(summary)


def test_fits_of_different_rows_are_not_compared():
    with pytest.raises(ValueError, match="t, seed 0: hgb and ours were measured on different rows"):
        quality_summary.summarise([a_fit("ours"), a_fit("hgb", fingerprint="other")])


def test_without_a_fit_there_is_no_summary():
    with pytest.raises(ValueError, match="has been measured yet"):
        quality_summary.summarise([])


def test_the_command_writes_the_summary_and_the_picture(tmp_path, monkeypatch, capsys):
    for fit in (a_fit("ours"), a_fit("hgb"), a_fit("ours", seed=100, score=5.0), a_fit("hgb", seed=100)):  # fmt: skip
        key = quality_fits.Key(quality_fits.System(fit["system"]), "1", "t", fit["seed"], "p")
        quality_fits.write(key.path(tmp_path), fit)
    monkeypatch.setattr(sys, "argv", ["quality", "--summary-only", "--folder", str(tmp_path)])
    quality.main()
    summary = json.loads((tmp_path / "quality_summary.json").read_text("utf-8"))
    assert (summary["splits"], summary["losses"]["t"]["ours"]) == ("figures", 1.0)
    assert (tmp_path / "quality_summary.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--seeds", "100-104"])
    quality.main()
    development = json.loads((tmp_path / "quality_summary_development.json").read_text("utf-8"))
    assert (development["splits"], development["losses"]["t"]["ours"]) == ("development", 5.0)
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--systems", "mlp"])
    with pytest.raises(SystemExit, match="has been measured yet"):
        quality.main()
