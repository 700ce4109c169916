"""What a notebook shows: static, escaped HTML; and a fit while it happens, in a real kernel."""

import sys
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

import sightline as sl
from sightline.trace.records import Trace
from sightline.views import markup, notebook
from sightline.views.notebook import NotebookView, in_kernel, of_run

HOSTILE = "</script><img src=x onerror=alert(1)>"
EMPTY = {"br"}
ALLOWED = {"div", "b", "br", "span", "code", "table", "thead", "tbody", "tr", "th", "td",
           "svg", "rect", "path", "polyline", "text", "title"}  # fmt: skip
KEPT_BY_ALL = {"style", "width", "height", "viewbox", "role", "x", "y", "d", "fill", "stroke", "points",
               "fill-opacity", "stroke-opacity", "stroke-width", "stroke-dasharray", "text-anchor"}  # fmt: skip


class Page(HTMLParser):
    """Reads a piece of HTML: its words; fails on tags or attributes that have no place in it."""

    def __init__(self, html):
        super().__init__()
        self.open, self.words, self.tags = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in ALLOWED, tag
        assert {name for name, _ in attrs} <= KEPT_BY_ALL, attrs
        assert not any("url(" in (value or "") for _, value in attrs)
        self.tags.append(tag)
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def shown(thing):
    return Page(thing._repr_html_())


@pytest.fixture(scope="module")
def run(fitted):
    return sl.Run(fitted / "runs" / "a")


def test_a_run(run):
    page = shown(run)
    assert page.text.startswith("How a network learns to predict species")
    for said in ("1. load", "5. predict", "276 rows x 7 features", "best epoch 12", "Accuracy",
                 "Baseline", "Epoch 12: loss", "Metrics on 34 test rows", "model.sightline"):  # fmt: skip
        assert said in page.text, said
    assert page.tags.count("polyline") == 2


def test_what_groups_of_rows_say_is_in_the_card_of_a_run(run):
    said = {"sentence": "Each group is compared: site = <b>west</b> is worse."}
    record = replace(run.records[-1], stage="predict", type="slices", body=said)
    assert said["sentence"] in Page(of_run([*run.records, record])).text


def test_a_run_that_was_cut_off(run):
    kinds = [(record.stage, record.type) for record in run.records]
    for length in (0, 1, 3, kinds.index(("train", "epoch")) + 1, kinds.index(("train", "end"))):
        page = Page(of_run(run.records[:length]))
        assert "Metrics on" not in page.text
    assert "in progress ..." in page.text
    assert "Step 3 of 1,000." in Page(of_run(run.records[:length], (3, 1000))).text


def test_a_model(run):
    page = shown(run.model)
    for said in ("A model of species", "3 classes: Adelie, Chinstrap, Gentoo.", "1,315 parameters",
                 "bill_length_mm", "Hidden layer 1: Linear + ReLU", "1,088"):  # fmt: skip
        assert said in page.text, said


def test_an_explanation(run, penguins):
    found = run.model.explain(sl.read(penguins).row(3))
    page = shown(found)
    for said in ("Prediction: ", "Torgersen", "Note: sex is missing.", "Input layer: 11 features",
                 "1 x 64", "Probabilities", "Gentoo"):  # fmt: skip
        assert said in page.text, said
    assert page.tags.count("rect") >= 11 + 7 + 64 + 3 + 3
    bad = run.model.explain({**sl.read(penguins).row(0), "bill_length_mm": "tall"})
    assert "No prediction" in shown(bad).text
    assert "tall" in shown(bad).text


def test_predictions(run, penguins):
    page = shown(run.model.predictions(penguins))
    assert "344 predictions Row Prediction Probability 0 Adelie " in page.text
    assert "and 334 more" in page.text
    assert "sex 11" in page.text
    none = {name: [] for name in sl.read(penguins).columns}
    assert "0 predictions" in shown(run.model.predictions(none)).text


def test_a_regression(weight):
    training = sl.Training(sl.MLP(weight.spec), weight, epochs=1)
    assert [epoch.number for epoch in training] == [0, 1]
    model = training.model()
    assert "it predicts a number" in shown(model).text
    rows = {c.name: [None] for c in model.encoder.schema.features}
    page = shown(model.predictions(rows))
    assert "1 prediction Row" in page.text
    found = shown(model.explain(rows)).text
    assert "Probabilities" not in found
    assert found.startswith("Prediction: ")


def test_a_prepared_table(species):
    page = shown(species)
    for said in (
        "training rows, numbers [276, 9]",
        "validation rows, codes [34, 2]",
        "by rank",
        "island (code)",
    ):
        assert said in page.text, said


def test_a_training_so_far(species):
    training = sl.Training(sl.MLP(species.spec, hidden=[8]), species, epochs=4)
    assert "not started" in shown(training).text
    for epoch in training:
        if epoch.number == 2:
            training.edit(sl.Widen("hidden.0", 16))
        if epoch.number == 3:
            break
    page = shown(training)
    for said in ("A training of MLP: it can continue", "4 epochs of 9 steps, batches of 32 rows", "27 steps done.",
                 "Epoch 3: loss", "Edit in epoch 3: ", "\u25b2"):  # fmt: skip
        assert said in page.text, said
    list(training)
    assert "all 4 epochs done" in shown(training).text


def test_hostile_names_come_out_harmless(tmp_path):
    random = np.random.default_rng(0)
    names = [HOSTILE, "$x_{", "\u202eabc", "m" * 100_000]
    table = {name: random.normal(size=80) for name in names}
    table["kind"] = np.array([HOSTILE, "\u202e<b>"])[random.integers(0, 2, 80)]
    table["<svg onload=x>"] = np.array(["<td>", "&lt;"])[random.integers(0, 2, 80)]
    run = sl.fit(table, "kind", network="MLP", epochs=2, quiet=True, run=tmp_path / "r")
    splits = sl.split(sl.read(table), target="kind")
    prepared = sl.prepare(splits)
    training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=2)
    list(training)
    row = {name: values[0] for name, values in table.items()}
    things = [
        run,
        run.model,
        prepared,
        training,
        run.model.explain(row),
        run.model.predictions(table),
    ]
    for thing in things:
        html = thing._repr_html_()
        Page(html)
        assert "\u202e" not in html
        assert len(html) < 100_000
    assert HOSTILE in shown(run.model).text
    assert HOSTILE in shown(run.model.explain(row)).text


# ------------------------------------------------------------- pieces


def epochs(*losses):
    return [
        {"number": i, "train_loss": loss, "valid_loss": None, "observation": "so"}
        for i, loss in enumerate(losses)
    ]


def test_losses_that_are_no_number_leave_a_gap():
    page = Page(markup.curve(epochs(3.0, 2.0, "NaN", "Infinity", 1.0, 1e300, 0.5)))
    assert page.tags.count("polyline") == 3
    assert page.text.count("\u00d7") == 3
    assert "nan" not in page.text
    assert markup.curve(epochs("NaN", "NaN")) == ""
    assert markup.curve(epochs(1.0)) == markup.curve([]) == ""
    assert "polyline" in markup.curve(epochs(1.0, 1.0), best=0)


def test_a_long_training_is_thinned_out_to_its_last_epoch():
    html = markup.curve(epochs(*[1 / (i + 1) for i in range(10_000)]))
    assert html.count(",") < 400
    assert "9999" in Page(html).text
    assert "530.0,188.0" in html


@pytest.mark.parametrize("value", [float("nan"), "Infinity", 0.0, 7.0])
def test_bars_and_cells_stay_within_their_drawing(value):
    Page(markup.bar(value, 1.0) + markup.bar(value, 0.0, both=True))
    assert 'width="180.0"' in markup.bar(7.0, 1.0)
    html = markup.heat([value], [3], 0.0)
    assert 'fill-opacity="0.00"' in html
    assert "[3]" in Page(html).text


def test_long_tables_are_cut():
    page = Page(markup.table(["a"], [["x"]] * 1000))
    assert page.tags.count("td") == 40
    assert "and 960 more rows" in page.text


# ------------------------------------------------------------- live


@pytest.fixture
def now(monkeypatch):
    """A clock that stands still until it is set."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(notebook.time, "monotonic", lambda: clock.now)
    return clock


def test_the_view_draws_four_times_a_second_at_most(now):
    pages = []
    view = NotebookView(pages.append)
    trace = Trace([view])
    trace.write("lesson", "begin", {"number": 4, "name": "train", "title": "x"})
    for step in range(1, 1001):
        now.now = step / 1000
        view.step(step, 1000)
    assert len(pages) == 4
    assert "Step 250 of 1,000." in pages[0]
    trace.write("lesson", "opening", {"title": "The end", "paragraph": "", "minutes": 3})
    assert len(pages) == 4
    view.close()
    assert "The end" in pages[4]
    assert "Step" not in pages[4]
    view.close()
    assert len(pages) == 5


def test_the_view_of_nothing_shows_nothing(now):
    pages = []
    NotebookView(pages.append).close()
    assert pages == []


def test_the_last_view_is_that_of_the_run(penguins, tmp_path):
    pages = []
    run = sl.fit(
        penguins,
        "species",
        network="MLP",
        epochs=3,
        run=tmp_path / "r",
        view=NotebookView(pages.append),
    )
    assert pages[-1] == run._repr_html_()


def test_a_resumed_view_begins_with_what_was(run):
    pages = []
    view = NotebookView(pages.append)
    view.begin(run.records[:-1])
    view(run.records[-1])
    view.close()
    assert pages == [run._repr_html_()]


def shell(name):
    return type(name, (type("InteractiveShell", (), {}),), {})


@pytest.mark.parametrize(
    ("found", "expected"),
    [(None, False), (shell("TerminalInteractiveShell")(), False), (shell("ZMQInteractiveShell")(), True),
     (type("Shell", (shell("ZMQInteractiveShell"),), {})(), True)],
)  # fmt: skip
def test_only_a_kernel_is_a_notebook(monkeypatch, found, expected):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: found))
    assert in_kernel() is expected
    monkeypatch.delitem(sys.modules, "IPython")
    assert in_kernel() is False


CELLS = [
    "import sightline as sl\n"
    "run = sl.fit('penguins.csv', target='species', network='MLP', epochs=3, device='cpu', run='runs/nb')",
    "run",
    "run.model",
    "table = sl.read('penguins.csv')\nrun.model.explain(table.row(3))",
    "prepared = sl.prepare(sl.split(table, target='species'))\nprepared",
    "training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=2)\n"
    "for epoch in training:\n    pass\ntraining",
    "quiet = sl.fit('penguins.csv', target='species', network='MLP', epochs=1, quiet=True)",
    "from sightline.views.terminal import TerminalView\n"
    "seen = sl.fit('penguins.csv', target='species', network='MLP', epochs=1, view=TerminalView())",
]


def test_a_real_notebook(tmp_path, penguins):
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    (tmp_path / "penguins.csv").write_bytes(penguins.read_bytes())
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    client.NotebookClient(
        book, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [cell.outputs for cell in book.cells]
    fit = [output for output in outputs[0] if output.output_type == "display_data"]
    assert len(fit) == 1  # one place, drawn anew
    pages = [fit[0].data["text/html"]]
    pages += [output[0].data["text/html"] for output in outputs[1:6]]
    starts = ("How a network learns to predict species", "How a network learns to predict species",
              "A model of species", "Prediction: ", "A prepared table", "A training of MLP: all 2")  # fmt: skip
    for html, start in zip(pages, starts, strict=True):
        assert Page(html).text.startswith(start)
    assert pages[0] == pages[1]  # the saved notebook shows the end
    assert outputs[6] == []
    assert "1. load" in str(outputs[7])
    assert len(outputs[7]) > 10  # a view that was given is used, which prints line by line
