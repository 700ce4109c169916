import math

import numpy as np
import pytest

import sightline as sl
from sightline.errors import BundleError, DataError, OptionError, RunError
from sightline.pipeline.origin import evaluate, overlap


def small(source, target="species", **options):
    return sl.fit(
        source, target, **{"network": "MLP", "epochs": 1, "quiet": True, "device": "cpu", **options}
    )


@pytest.fixture
def here(tmp_path, monkeypatch, penguins):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "penguins.csv").write_bytes(penguins.read_bytes())
    return tmp_path


def test_a_run_reopened(fitted):
    run = sl.Run(fitted / "runs" / "a")
    assert run.notes == []
    assert [epoch.number for epoch in run.epochs] == list(range(13))
    assert isinstance(run.epochs[0], sl.EpochRecord)
    assert run.metrics["part"] == "test"
    assert run.model.classes == ("Adelie", "Chinstrap", "Gentoo")
    assert run.table.rows == 344
    assert run.find("run", "end")[0].body["bundle"].endswith("model.sightline")
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "checkpoints", "model.sightline", "report.html", "trace.jsonl",
    ]  # fmt: skip


def test_metrics_are_the_test_rows_measured_again(fitted):
    run = sl.Run(fitted / "runs" / "a")
    assert evaluate(run.model) == dict(run.metrics)


def test_numbers_that_json_lacks_come_back_as_numbers(here):
    run = small("penguins.csv", learning_rate=1e30, run="r")
    assert math.isnan(run.epochs[-1].valid_loss)
    assert all(isinstance(value, float) for value in run.epochs[-1].metrics.values())
    assert run.find("train", "end")[0].body["stopped"].endswith("a second time")


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(RunError, match="is no run folder"):
        sl.Run(tmp_path)


def test_a_run_that_did_not_end(here):
    class View:
        def __call__(self, record):
            if record.type == "epoch" and record.body["number"] == 1:
                raise KeyboardInterrupt

        def step(self, done, total):
            pass

        close = lambda self: None  # noqa: E731

    with pytest.raises(KeyboardInterrupt):
        small("penguins.csv", view=View(), run="r")
    run = sl.Run("r")
    assert len(run.epochs) == 2
    with pytest.raises(
        RunError, match=r"has no metrics: the run did not end. Resume the run, or fit again."
    ):
        _ = run.metrics
    with pytest.raises(BundleError):
        _ = run.model


def test_a_run_refused_before_training_leaves_no_folder(here):
    with pytest.raises(sl.UserError):
        small("penguins.csv", target="specie")
    with pytest.raises(OptionError, match="device"):
        small("penguins.csv", device="abacus", run="r")
    assert [path.name for path in here.iterdir()] == ["penguins.csv"]


@pytest.mark.parametrize(
    ("given", "said"),
    [({"learning_rat": 0.1}, "no option 'learning_rat'.*Did you mean 'learning_rate'"),
     ({"epoch": 3}, "no option 'epoch'.*Did you mean 'epochs'"),
     ({"optimizer": "adam"}, "optimizer is 'adam'.*Did you mean 'adamw'"),
     ({"schedule": "cosin"}, "Did you mean 'cosine'"), ({"ema": 1.0}, "ema is 1.0"),
     ({"checkpoint_epochs": 0}, "checkpoint_epochs is 0"),
     ({"watch": True}, r"Give network=.file\.py:Class"), ({"weight": "yeer"}, "Did you mean 'year'"),
     ({"weight": "island"}, "a weight is a number"), ({"weight": "species"}, "two roles")],
)  # fmt: skip
def test_settings_that_make_no_sense_leave_nothing(here, given, said):
    with pytest.raises(sl.UserError, match=said):
        small("penguins.csv", run="r", **given)
    assert [path.name for path in here.iterdir()] == ["penguins.csv"]


def test_a_run_folder_that_exists_is_not_touched(here):
    (here / "r").mkdir()
    with pytest.raises(RunError, match="r exists already"):
        small("penguins.csv", run="r")
    assert list((here / "r").iterdir()) == []


def test_default_names_come_from_the_file_and_do_not_collide(here, monkeypatch):
    monkeypatch.setattr("sightline.pipeline.runs._now", lambda: "20300101-000000")
    (here / "a b.c.csv").write_bytes((here / "penguins.csv").read_bytes())
    names = [small("a b.c.csv").folder.name, small("a b.c.csv").folder.name]
    assert names == ["a_b-20300101-000000", "a_b-20300101-000000-2"]
    table = sl.read("penguins.csv")
    assert small(table).folder.name == "table-20300101-000000"


def test_data_that_changed_is_noticed(here):
    model = small("penguins.csv", run="r").model
    text = (here / "penguins.csv").read_text()
    (here / "penguins.csv").write_text(text.replace("39.1", "39.2", 1))
    with pytest.raises(
        DataError, match=r"has changed since the model was trained on it.*fit again"
    ):
        evaluate(model)
    (here / "penguins.csv").write_text(text)
    assert evaluate(model)["part"] == "test"
    (here / "penguins.csv").unlink()
    with pytest.raises(
        DataError, match=r"penguins.csv, the table that the model was trained on, does not exist"
    ):
        evaluate(model)


def test_a_table_in_memory_cannot_be_read_again(here):
    run = small(sl.read("penguins.csv"), run="r")
    with pytest.raises(DataError, match="trained on a table in memory, which cannot be read again"):
        _ = run.table


def test_evaluate_without_test_rows(here):
    run = small("penguins.csv", test=0, run="r")
    assert run.metrics["part"] == evaluate(run.model)["part"] == "validation"
    run = small("penguins.csv", test=0, valid=0, run="s")
    assert run.metrics["part"] == "training"
    with pytest.raises(DataError, match=r"neither test nor validation rows. Give a file"):
        evaluate(run.model)


def test_overlap_counts_training_rows(fitted):
    model = sl.Run(fitted / "runs" / "a").model
    table = model.read(fitted / "penguins.csv")
    seen, sample = overlap(model, table)
    assert sample == 276
    assert 276 <= seen < 344
    assert overlap(model, model.read({"island": ["Dream"], **{key: [1.0] for key in ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "year"]}, "sex": ["male"]})) == (0, 0)  # fmt: skip


@pytest.mark.parametrize("seed", [-1, 2**32, "a", True])
def test_seeds_are_checked_first(here, seed):
    with pytest.raises(OptionError, match="seed is"):
        small("penguins.csv", seed=seed)
    with pytest.raises(OptionError, match="seed is"):
        sl.demo(seed=seed, quiet=True)
    assert not (here / "runs").exists()


def test_the_same_seed_makes_the_same_run_and_leaves_the_generators_alone(here):
    import torch

    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = small("penguins.csv", run="a", seed=4), small("penguins.csv", run="b", seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(
        first.model.predict_proba("penguins.csv"), second.model.predict_proba("penguins.csv")
    )
    assert small("penguins.csv", run="c", seed=5).metrics != first.metrics


def test_a_view_hears_everything(here):
    class View:
        records, steps, closed = [], [], 0

        def __call__(self, record):
            self.records.append(record)

        def step(self, done, total):
            self.steps.append((done, total))

        def close(self):
            self.closed += 1

    view = View()
    run = small("penguins.csv", run="r", view=view, epochs=2)
    assert view.records == run.records
    assert view.steps == [(n, 18) for n in range(1, 19)]
    assert view.closed == 1
    with pytest.raises(sl.UserError):
        small("nothing.csv", view=view)
    assert view.closed == 2
