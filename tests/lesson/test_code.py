"""The code of a run is run, and makes the run's model again, to the last bit."""

import ast
import inspect
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.lesson import code, source
from sightline.pipeline.recipe import Recipe
from sightline.train.checkpoints import weights_fingerprint
from tests.predict.networks import Members, Own

SMALL = {
    "network": "MLP",
    "baselines": False,
    "epochs": 3,
    "quiet": True,
    "device": "cpu",
    "report": False,
}


def blocks(run):
    return {r.body["name"]: r.body["code"] for r in run.find("lesson", "begin")}


def whole(run):
    """The first block of each stage: the program."""
    return "\n".join(told[0]["code"] for told in blocks(run).values())


def execute(text, capsys, **names):
    made = dict(names)
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        exec(compile(text, "<the code of the run>", "exec"), made)
    torch.set_num_threads(threads)
    capsys.readouterr()
    return made


SETTINGS = {
    "usual": {},
    "seed": {"seed": 7, "numeric": "minmax", "valid": 50, "test": 0.2},
    "cosine": {"optimizer": "sgd", "schedule": "cosine", "clip_norm": 0.5, "learning_rate": 0.05},
    "smooth": {
        "label_smoothing": 0.1,
        "weight_decay": 0.2,
        "batch_size": 50,
        "schedule": "warm-up",
    },
    "rising": {"schedule": "constant", "warm_up": 0.5, "ema": 0.9, "class_weights": "balanced"},
    "muon": {"optimizer": "muon", "network": lambda spec: sl.MLP(spec, hidden=[16, 8])},
    "parts": {
        "batch_size": 16,
        "accumulate": 2,
        "drop": ["year"],
        "kinds": {"island": "categorical"},
    },
    "weighted": {"weight": "year", "missing": ["NA", ""]},
    "balanced": {"class_weights": "balanced"},
    "classes": {"class_weights": {"Adelie": 2, "Gentoo": 0.5}, "weight": "year"},
    "dropout": {"network": lambda spec: sl.MLP(spec, hidden=[], dropout=0.2, activation="gelu")},
    "best of both": {"network": None, "quality": "fast", "epochs": 2},
    "time": {"network": None, "quality": "fast", "epochs": 2, "time": "year"},
    "apart": {"network": None, "epochs": 2, "valid": 60, "threshold": None, "time_limit": 60.0},
    "calibrated": {"calibrate": True, "valid": 80},
}
IN_PLAIN = [
    "usual",
    "best of both",
    "seed",
    "cosine",
    "smooth",
    "muon",
    "weighted",
    "balanced",
    "classes",
    "dropout",
]
"""Whose plain loop does what training does to the last bit, and says all of it."""


@pytest.fixture(scope="module")
def fits(tmp_path_factory, penguins):
    folder, done = tmp_path_factory.mktemp("code"), {}
    (folder / "penguins.csv").write_bytes(penguins.read_bytes())

    def fit(name, target="species"):
        if (name, target) not in done:
            done[name, target] = sl.fit(
                folder / "penguins.csv", target, run=folder / f"{name}-{target}",
                **{**SMALL, **SETTINGS[name]},
            )  # fmt: skip
        return done[name, target]

    return fit


@pytest.mark.parametrize(
    ("name", "target"),
    [
        *((name, "species") for name in SETTINGS),
        ("usual", "body_mass_g"),
        ("cosine", "body_mass_g"),
        ("best of both", "body_mass_g"),
    ],
)
def test_the_code_makes_the_model_again_bit_for_bit(
    fits, name, target, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run = fits(name, target)
    made = execute(whole(run), capsys)
    again = made["model"]
    assert weights_fingerprint(again.network) == weights_fingerprint(run.model.network)
    assert weights_fingerprint(again.network) == run.find("train", "end")[0].body["best_weights"]
    assert json.loads(json.dumps({**made["metrics"], "part": run.metrics["part"]})) == run.metrics
    example = run.find("predict", "example")[0].body["explanation"]
    assert list(made["explanation"].probabilities) == example["probabilities"]
    assert made["explanation"].prediction == example["prediction"]
    loaded = sl.Model.load(tmp_path / "model.sightline")
    assert weights_fingerprint(loaded.network) == weights_fingerprint(again.network)


@pytest.mark.parametrize(
    ("name", "target"),
    [*((name, "species") for name in IN_PLAIN),
     *((name, "body_mass_g") for name in ("usual", "seed", "cosine", "muon"))],
)  # fmt: skip
def test_the_plain_loop_ends_with_the_same_weights(
    fits, name, target, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run = fits(name, target)
    told = blocks(run)
    text = "\n".join([*(told[stage][0]["code"] for stage in ("load", "prepare", "build")),
                      told["train"][1]["code"]])  # fmt: skip
    network = execute(text, capsys)["network"]
    assert weights_fingerprint(network) == run.find("train", "end")[0].body["weights"]


def test_all_blocks_together_run_too(fits, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = fits("usual")
    text = "\n".join(block["code"] for told in blocks(run).values() for block in told)
    made = execute(text, capsys)
    assert weights_fingerprint(made["model"].network) == weights_fingerprint(run.model.network)


@pytest.mark.parametrize("network", [Own, Members])
def test_a_class_of_your_own_is_called_by_its_name(
    penguins, network, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run = sl.fit(penguins, "species", run=tmp_path / "a", **{**SMALL, "network": network})
    built = blocks(run)["build"][0]["code"]
    (kept,) = (tmp_path / "a" / "sources").iterdir()
    assert f"# sources/{kept.name}" in built
    assert f"network = {network.__name__}(prepared.spec)" in built
    made = execute(whole(run), capsys, **{network.__name__: network})
    end = run.find("train", "end")[0].body
    assert weights_fingerprint(made["model"].network) == end["best_weights"]
    plain = "\n".join([whole(run), blocks(run)["train"][1]["code"]])
    trained = execute(plain, capsys, **{network.__name__: network})["network"]
    if network is Own:
        assert weights_fingerprint(trained) == end["weights"]
    else:
        assert "logits.flatten(0, 1), batch.target.repeat_interleave(3)" in plain
        for name, value in trained.state_dict().items():
            torch.testing.assert_close(value, made["training"].network.state_dict()[name])


def test_what_no_line_can_make_again_is_said(penguins, tmp_path):
    def mine(spec):
        return Own(spec)

    run = sl.fit(
        penguins,
        "species",
        optimizer=torch.optim.Adam,
        run=tmp_path / "a",
        **{**SMALL, "network": mine},
    )
    told = blocks(run)
    assert told["build"][0]["code"].endswith(
        "network = ...  # your own network, 'Own': the run does not know how it was built"
    )
    assert "optimizer = ...  # your own" in told["train"][0]["code"]
    assert "optimizer=optimizer" in told["train"][0]["code"]
    for block in [block for one in told.values() for block in one]:
        ast.parse(block["code"])


def test_weights_that_were_handed_over_are_not_said_to_be_drawn(penguins, species, tmp_path):
    torch.manual_seed(99)
    network = sl.MLP(species.spec)
    run = sl.fit(penguins, "species", run=tmp_path / "a", **{**SMALL, "network": network})
    text = blocks(run)["build"][0]["code"]
    assert "The network was given as a module with its weights" in text
    assert run.find("build", "network")[0].body["again"]["drawn"] is False


def test_a_table_in_memory_is_said_to_be_one(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    data = {"x": random.normal(size=80), "y": ["a", "b"] * 40}
    run = sl.fit(data, "y", run=tmp_path / "a", **SMALL)
    text = whole(run)
    assert "this table was in memory" in text
    made = execute(text.replace("data = ...", "pass"), capsys, data=data)
    assert weights_fingerprint(made["model"].network) == weights_fingerprint(run.model.network)


def test_the_demo_tells_its_settings(tmp_path):
    told = blocks(sl.demo(run=tmp_path / "demo", quiet=True))
    assert (
        "splits = sl.split(table, target='kind', valid=250, test=250, seed=0)"
        in told["load"][0]["code"]
    )
    assert told["prepare"][0]["code"] == "prepared = sl.prepare(splits, numeric='minmax')"
    assert told["build"][0]["code"].endswith("network = sl.MLP(prepared.spec, hidden=[32])")
    assert "learning_rate=0.007" in told["train"][0]["code"]


def test_validation_rows_of_another_file(penguins, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = penguins.read_text().splitlines()
    (tmp_path / "a.csv").write_text("\n".join(lines[:300]))
    (tmp_path / "b.csv").write_text("\n".join([lines[0], *lines[300:]]))
    run = sl.fit(
        "a.csv", "island", valid="b.csv", task="classification", run=tmp_path / "a", **SMALL
    )
    text = blocks(run)["load"][0]["code"]
    assert "table = sl.read('a.csv')" in text
    assert "task='classification'" in text
    made = execute(whole(run), capsys)
    assert weights_fingerprint(made["model"].network) == weights_fingerprint(run.model.network)


def test_edits_are_told(penguins, tmp_path):
    assert "edits were made" in code.predict("test", 0, edits=2)[0]["code"]
    assert "edit was made" in code.predict("test", 0, edits=1)[0]["code"]
    assert "edit" not in code.predict("test", 0, edits=0)[0]["code"]


def test_a_replay_tells_the_same_code(fits, tmp_path):
    run = fits("seed")
    again = blocks(sl.replay(run.folder, to=tmp_path / "again", quiet=True))
    first = blocks(run)
    assert [again[name] for name in ("prepare", "build", "train", "predict")] == [
        first[name] for name in ("prepare", "build", "train", "predict")
    ]


def test_the_defaults_are_those_of_the_api():
    def defaults(function, names):
        parameters = inspect.signature(function).parameters
        return {name: parameters[name].default for name in names}

    read = defaults(sl.read, code.READ_DEFAULTS)
    assert {**read, "kinds": {}, "drop": list(read["drop"])} == code.READ_DEFAULTS
    assert defaults(sl.split, code.SPLIT_DEFAULTS) == code.SPLIT_DEFAULTS
    mlp = defaults(sl.MLP, source.NETWORK_DEFAULTS["MLP"])
    said = {**mlp, "hidden": list(mlp["hidden"]), "residual": list(mlp["residual"]), "replaced": {}}
    assert said == source.NETWORK_DEFAULTS["MLP"]
    assert mlp["replaced"] is None
    ensemble = defaults(sl.Ensemble, source.NETWORK_DEFAULTS["Ensemble"])
    assert {**ensemble, "hidden": list(ensemble["hidden"])} == source.NETWORK_DEFAULTS["Ensemble"]
    assert Recipe().to_json() == code.RECIPE_DEFAULTS


# ------------------------------------------------------------- hostile names

HOSTILE = [
    "it's", 'say "no"', "two\nlines", "'); raise SystemExit #", "\\", "‮evil", "\0null", "עברית",
    "{x}", "%s", "a" * 200, "\r\n# not a comment", "a\u2028b", "''' + '''", "...",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_columns_stay_texts(name, capsys, tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    table = pa.table(
        {name: ["a", "b"] * 40, "x": random.normal(size=80), f"{name}2": random.normal(size=80)}
    )
    pq.write_table(table, "t.parquet")
    run = sl.fit("t.parquet", name, drop=[f"{name}2"], run="r", **SMALL)
    made = execute(whole(run), capsys)
    assert made["splits"].target.name == name
    assert weights_fingerprint(made["model"].network) == weights_fingerprint(run.model.network)


def test_a_hostile_file_name(penguins, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = 'it\'s\n"all" ‮right.csv'
    (tmp_path / name).write_bytes(penguins.read_bytes())
    run = sl.fit(name, "species", run="r", **SMALL)
    assert "\n".join(whole(run).split("\n")[:3]).isascii()
    made = execute(whole(run), capsys)
    assert weights_fingerprint(made["model"].network) == weights_fingerprint(run.model.network)


def test_a_name_of_a_million_letters_is_not_written_out(tmp_path):
    long = "n" * 1_000_000
    random = np.random.default_rng(0)
    run = sl.fit(
        {long: ["a", "b"] * 40, "x": random.normal(size=80)}, long, run=tmp_path / "r", **SMALL
    )
    told = [block["code"] for one in blocks(run).values() for block in one]
    assert max(map(len, told)) < 3000
    assert (
        "# ... stands for a text too long to be written here.\nsplits = sl.split(table, target=..., seed=0)"
        in told[0]
    )
    for text in told:
        ast.parse(text)
    stages = [r.body for r in run.find("lesson", "stage")]
    extra = [[s["facts"], s["shapes"], s["maths"], s["terms"]] for s in stages]
    assert len(json.dumps(extra)) < 20_000


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=300),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=20), inner), max_leaves=10,
))  # fmt: skip
def test_a_literal_reads_back_as_what_it_was(value):
    text = source.literal(value)
    assert ast.literal_eval(text) == value
    assert "\n" not in text


@given(st.text(min_size=1, max_size=50))
def test_a_comment_keeps_to_its_line(text):
    described = {"class": text, "built_in": False}
    (block,) = code.build(described, 0)
    assert "\n" not in block["code"].splitlines()[-1]
    assert [type(node).__name__ for node in ast.parse(block["code"]).body] == ["Import", "Assign"]
