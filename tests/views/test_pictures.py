"""Pictures as files: what is in them, not how their pixels look."""

import subprocess
import sys
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import OptionError
from sightline.trace.records import Trace
from sightline.views.pictures import DRAWINGS, pictures
from sightline.views.sheet import character_width, label

HOSTILE = ["</script><img src=x onerror=alert(1)>", "$x_{", "\u202eabc\u200f", "a\x00\ud800b\n",
           "m" * 1_000_000, "漢字 😀 ก", "\\frac{", "--><b>"]  # fmt: skip


def records(*bodies):
    """Records of (stage, type, body), written as a run writes them."""
    trace = Trace()
    for stage, type_, body in bodies:
        trace.write(stage, type_, body)
    return trace.records


def start(task="classification", name="y"):
    return ("run", "start", {"source": "t.csv", "target": {"name": name, "task": task}})


def epoch(number, train, valid, **metrics):
    metrics = metrics or {"train_accuracy": 0.5, "valid_accuracy": 0.4}
    body = {"number": number, "train_loss": train, "valid_loss": valid, "metrics": metrics}
    return ("train", "epoch", {**body, "observation": "so"})


def drawn(folder, given):
    """Draw as SVG: each picture's words by name; every file is sound XML without a foreign element."""
    words = {}
    for path in pictures(given, folder, "svg"):
        text = path.read_text()
        assert len(text) < 1_000_000
        tree = ElementTree.fromstring(text)
        names = {element.tag.rpartition("}")[2] for element in tree.iter()}
        assert not names & {"script", "img", "b", "foreignObject", "a"}, path
        assert not any(key.startswith("on") for element in tree.iter() for key in element.attrib)
        words[path.stem] = " | ".join(
            "".join(e.itertext()) for e in tree.iter() if e.tag.endswith("}text")
        )
    return words


@pytest.fixture(scope="module")
def of_penguins(fitted, tmp_path_factory):
    """The words in each picture of a real run."""
    return drawn(tmp_path_factory.mktemp("svg"), sl.Run(fitted / "runs" / "a").records)


def test_a_real_run_has_its_pictures(of_penguins):
    assert {"loss", "metric", "layers", "columns", "network", "confusion"} <= set(of_penguins)
    assert not {"scatter", "residuals"} & set(of_penguins)
    for words in of_penguins.values():
        assert "| a" in words  # the run's name, under the title
    assert "Loss of each epoch" in of_penguins["loss"]
    assert "log loss (nats)" in of_penguins["loss"]
    assert "best epoch: 12" in of_penguins["loss"]
    assert "accuracy (share of rows)" in of_penguins["metric"]
    assert "Confusion matrix, 34 test rows" in of_penguins["confusion"]
    assert all(name in of_penguins["confusion"] for name in ("Adelie", "Chinstrap", "Gentoo"))
    assert "species (target)" in of_penguins["columns"]
    assert "bill_length_mm" in of_penguins["columns"]
    assert "Hidden layer 1: Linear + ReLU" in of_penguins["network"]
    assert "1,315 parameters" in of_penguins["network"]
    assert "gradient (root mean square)" in of_penguins["layers"]


def test_numbers_at_a_log_axis_are_plain(tmp_path):
    many = [epoch(i, 10.0**-i, None) for i in range(6)]
    words = drawn(tmp_path, records(start(), *many))["loss"]
    assert "0.001" in words
    assert "$" not in words
    assert "mathdefault" not in words


def test_png_files_have_slide_size(fitted, tmp_path):
    paths = sl.Run(fitted / "runs" / "a").pictures(tmp_path / "new" / "png")
    assert [path.suffix for path in paths] == [".png"] * len(paths)
    assert sorted(paths) == sorted((tmp_path / "new" / "png").iterdir())
    sizes = {}
    for path in paths:
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        sizes[path.stem] = [int.from_bytes(data[at : at + 4], "big") for at in (16, 20)]
    assert sizes["loss"] == sizes["metric"] == [1800, 1000]
    assert all(1000 <= side <= 3000 for size in sizes.values() for side in size[:1])


def test_the_same_records_give_the_same_bytes(fitted, tmp_path):
    run = sl.Run(fitted / "runs" / "a")
    first = [path.read_bytes() for path in run.pictures(tmp_path / "1", "svg")]
    again = [path.read_bytes() for path in run.pictures(tmp_path / "2", "svg")]
    assert first == again
    assert all(b"dc:date" not in data for data in first)


def test_each_only_where_its_record_is(tmp_path):
    assert pictures([], tmp_path) == []
    assert set(drawn(tmp_path, records(start()))) == set()
    assert set(drawn(tmp_path, records(epoch(0, 1.0, 1.0)))) == {"loss", "metric"}
    nothing = ("load", "table", {"columns": [{"name": "a", "role": "feature", "histogram": None}]})
    silent = ("predict", "example", {"row": 1, "explanation": {"raw": {}, "pushes": None}})
    empty = ("predict", "curves", {"part": "test", "rows": 3, "roc": [], "pr": []})
    assert (
        drawn(tmp_path, records(nothing, silent, empty, ("train", "layers", {"layers": []}))) == {}
    )


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", 1e300])
def test_losses_that_are_no_number_are_marked(tmp_path, value):
    given = records(start(), epoch(0, 1.0, 1.0), epoch(1, value, 0.9), epoch(2, 0.5, value))
    assert "not a finite number" in drawn(tmp_path, given)["loss"]
    given = records(start(), epoch(0, value, None), epoch(1, value, None))
    words = drawn(tmp_path, given)["loss"]
    assert "not a finite number" in words
    assert "validation" not in words


def test_without_validation_rows_there_is_one_line(tmp_path):
    given = records(
        start("regression"),
        epoch(0, 1.0, None, train_rmse=9e6),
        epoch(1, 0.5, None, train_rmse=1.0),
    )
    words = drawn(tmp_path, given)
    assert "training" in words["loss"]
    assert "validation" not in words["loss"] + words["metric"]
    assert "squared error of the scaled target" in words["loss"]
    assert "RMSE (in the unit of y)" in words["metric"]
    assert "8,000,000" in words["metric"]


def test_edits_are_marked_and_named(tmp_path):
    edits = [("train", "edit", {"step": i, "epoch": 1, "said": f"edit {i} $_{{"}) for i in range(9)]
    given = records(start(), epoch(0, 1.0, 1.0), epoch(1, 0.5, 0.5), *edits)
    words = drawn(tmp_path, given)["loss"]
    assert "edit 0 $_{" in words
    assert "edit 5" in words
    assert "edit 6" not in words
    assert "and 3 more edits" in words


def hostile_bodies(names):
    """Every record that names columns, classes or layers, with such names."""
    classes = [{"class": name} for name in names]
    spread = {"kind": "names", "names": names[:10], "counts": [5] * len(names[:10]), "rest": 3}
    bins = {"kind": "bins", "low": names[0], "high": names[1], "counts": [1] * 20}
    curve = [{"class": name, "area": 0.5, "x": [0, 1], "y": [0, 1]} for name in names[:10]]
    layer = {"gradient": 0.1, "update": "NaN"}
    return records(
        start(name=names[0]), epoch(0, 1.0, 1.0), epoch(1, 1.0, 1.0),
        ("train", "edit", {"step": 1, "epoch": 1, "said": names[0]}),
        ("train", "layers", {"step": 1, "layers": [{"title": name, **layer} for name in names]}),
        ("load", "table", {"columns": [
            {"name": name, "role": "feature", "histogram": histogram}
            for name in names for histogram in (spread, bins)
        ]}),
        ("build", "network", {"class": names[0], "parameters": 5, "layers": [
            {"name": name, "shape": [3, 4], "parameters": 5} for name in names
        ]}),
        ("predict", "metrics", {"part": "test", "rows": 9, "classes": classes,
                                "confusion": [[1] * len(names)] * len(names)}),
        ("predict", "curves", {"part": "test", "rows": 9, "roc": curve, "pr": curve,
                               "reliability": {"ece": 0.1, "bins": [
                                   {"confidence": 0.6, "accuracy": 0.5, "rows": 9}]}}),
        ("predict", "importance", {"metric": "log_loss", "part": "test", "rows": 9, "repeats": 5,
                                   "columns": [{"column": name, "mean": 0.1, "deviation": 0.01}
                                               for name in names]}),
        ("predict", "example", {"row": 1, "explanation": {
            "raw": {name: name for name in names},
            "pushes": {"of": names[0], "unit": "probability", "base": 0.1, "value": 0.2,
                       "columns": [[name, 0.1] for name in names]}}}),
        ("predict", "baselines", {"part": "test", "rows": 9, "metric": "log_loss", "models": [
            {"name": name, "score": 0.5, "low": 0.4, "high": 0.6} for name in names[:4]]}),
        ("run", "end", {"run": f"runs/{names[0]}"}),
    )  # fmt: skip


def test_hostile_names_come_out_harmless(tmp_path):
    words = drawn(tmp_path, hostile_bodies(HOSTILE))
    assert set(words) == set(DRAWINGS) - {"scatter", "residuals"}
    for name in ("layers", "columns", "network", "importance", "row", "confusion"):
        assert "$x_{" in words[name], name
        assert "\u202e" not in words[name]
        assert "\\u202eabc" in words[name], name
        assert "m" * 100 not in words[name]
    assert "</script><img" in words["network"]
    assert all(path.stat().st_size > 1000 for path in pictures(hostile_bodies(HOSTILE), tmp_path))


def test_many_columns_classes_and_layers(tmp_path):
    names = [f"name {i}" for i in range(100)]
    words = drawn(tmp_path, hostile_bodies(names))
    assert "(24 of 200 columns)" in words["columns"]
    assert "(20 of 100 columns)" in words["importance"]
    assert "(20 of 100 columns)" in words["row"]
    assert "(24 of 100 layers)" in words["layers"]
    assert "77 more layers" in words["network"]
    assert "name 0" in words["network"]
    assert "name 99" in words["network"]
    assert words["confusion"].count("name") == 34 + 34 + 1  # every third class, and the run


def test_the_target_is_always_among_the_columns(tmp_path):
    spread = {"kind": "lengths", "low": "1", "high": "9", "counts": [1] * 20}
    columns = [
        {"name": f"c{i}", "role": "target" if i == 70 else "feature", "histogram": spread}
        for i in range(80)
    ]
    words = drawn(tmp_path, records(("load", "table", {"columns": columns})))["columns"]
    assert "c70 (target)" in words
    assert "c22" in words
    assert "c23" not in words
    assert "characters" in words


def test_regressions_have_a_scatter_and_residuals(tmp_path):
    body = {"part": "test", "rows": 3, "scatter": {"truth": [1e5, "NaN", 3e5], "predicted": [1e5, 2e5, 4e5]},
            "residuals": {"low": "-1,250", "high": "2,500.5", "counts": [0, 1, 2]}}  # fmt: skip
    words = drawn(tmp_path, records(start("regression", "price"), ("predict", "curves", body)))
    assert set(words) == {"scatter", "residuals"}
    assert "true (in the unit of price)" in words["scatter"]
    assert "predicted minus true (in the unit of price)" in words["residuals"]
    assert "-1,000" in words["residuals"]
    body["residuals"] = {"low": "5", "high": "5", "counts": [3]}  # all the same
    assert "residuals" in drawn(tmp_path, records(("predict", "curves", body)))


@given(st.text(max_size=60), st.integers(1, 40))
def test_a_label_takes_little_room_and_has_letters_that_a_font_has(text, width):
    made = label(text, width)
    assert 0 < len(made) <= width or (made == text == "")
    assert made.isprintable()
    assert all(map(character_width, made))
    assert sum(map(character_width, made)) <= max(width * 0.64, character_width("…"))
    if made != text and "□" not in made and text.isprintable():
        assert made.endswith("…")
        assert text.startswith(made[:-1])


def test_wide_letters_are_cut_sooner():
    assert label("flipper_length_mm", 20) == "flipper_length_mm"
    assert len(label("M" * 30, 20)) < 16
    assert label("i" * 20, 20) == "i" * 20
    assert label("a\U00012000b", 20) == "a□b"  # cuneiform


def test_a_readers_own_settings_change_nothing_and_are_kept(tmp_path):
    given = records(start(), epoch(0, 1.0, 1.0), epoch(1, 0.5, 0.5))
    plain = drawn(tmp_path, given)
    with matplotlib.rc_context({"text.usetex": True, "font.size": 40, "svg.fonttype": "path"}):
        assert drawn(tmp_path, given) == plain
        assert matplotlib.rcParams["text.usetex"] is True
        assert matplotlib.rcParams["font.size"] == 40


def test_pyplot_is_never_imported(tmp_path):
    code = (
        "import sys; from sightline.trace.records import Trace; t = Trace();"
        "t.write('train', 'epoch', {'number': 0, 'train_loss': 1.0, 'valid_loss': None,"
        " 'metrics': {'train_accuracy': 1.0}, 'observation': ''});"
        "from sightline.views.pictures import pictures; assert 'matplotlib' not in sys.modules;"
        f"print(len(pictures(t.records, {str(tmp_path)!r})), 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("2 False\n", "")


def test_mistakes_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(OptionError, match=r"'pgn'\. Did you mean 'png'"):
        pictures([], tmp_path, "pgn")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r'pip install "sightline\[plot\]"'):
        pictures([], tmp_path / "no")
    assert not (tmp_path / "no").exists()
