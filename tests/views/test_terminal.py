import io

import pytest

from sightline.contracts import Record
from sightline.views.terminal import TerminalView


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(view_records, file=None):
    file = file or io.StringIO()
    view = TerminalView(file)
    for stage, type_, body in view_records:
        view(Record(1, 0, 1, "now", stage, type_, body))
    view.close()
    return file.getvalue()


def column(name, **more):
    return {"name": name, "kind": "numeric", "role": "feature", "missing": 0, "values": "1 to 2",
            "reason": "numbers", **more}  # fmt: skip


def epoch(number, loss, **more):
    return {"number": number, "train_loss": loss, "valid_loss": loss, "observation": "stable",
            "metrics": {"train_accuracy": 0.5, "valid_accuracy": 0.25}, **more}  # fmt: skip


INSIGHT = ("lesson", "insight", {"title": "Key insight", "text": "Look."})
EVIL = "x\x1b[31mred\x1b]0;title\x07\r\n\u202eend"


def test_plain_text_where_there_is_no_terminal(monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    text = shown([INSIGHT, ("load", "table", {"columns": [column("a")], "notes": ["A note."]})])
    assert "\x1b" not in text
    assert "Key insight\nLook.\n" in text
    assert "A note." in text
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 100


def test_colour_when_forced(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[" in shown([INSIGHT])


@pytest.mark.parametrize(
    ("stage", "type_", "body"),
    [
        ("lesson", "opening", {"title": EVIL, "paragraph": EVIL, "minutes": 1}),
        ("load", "table", {"columns": [column(EVIL, values=EVIL, reason=EVIL)], "notes": [EVIL]}),
        ("prepare", "columns", {"ways": [{"column": EVIL, "way": EVIL}]}),
        ("build", "network", {"layers": [{"name": EVIL, "shape": [1], "parameters": 1}]}),
        ("train", "epoch", epoch(0, 1.0, observation=EVIL)),
        *[("train", type_, {"step": 3, "epoch": 1, "said": EVIL, "edit": {"name": EVIL}})
          for type_ in ("edit", "refused", "skipped", "rollback", "memory", "warning", "replay")],
        ("lesson", "stage", {"came_in": EVIL, "came_out": EVIL, "done": EVIL, "caption": EVIL}),
        ("lesson", "quiz", {"questions": [{"question": EVIL, "answers": {"A": EVIL}}]}),
        ("run", "end", {"run": EVIL, "bundle": EVIL, "seconds": 1.0, "next": [EVIL]}),
        ("predict", "example", {"row": 1, "part": EVIL, "explanation": {
            "raw": {EVIL: EVIL}, "error": None, "notes": [EVIL], "encoded": {EVIL: 1.0},
            "layers": [{"name": EVIL, "shape": [1], "largest": [[0, 1.0]]}], "classes": [EVIL],
            "probabilities": [1.0], "logits": [1.0], "prediction": EVIL}}),
        ("predict", "example", {"row": 1, "part": "", "explanation": {
            "raw": {EVIL: EVIL}, "error": None, "notes": [], "encoded": {}, "layers": [],
            "classes": [], "probabilities": [], "logits": [1.0], "prediction": EVIL,
            "pushes": {"of": EVIL, "unit": "probability", "base": 0.1, "base_said": EVIL, "value": 0.3,
                       "permutations": 4, "columns": [[EVIL, 0.2]]}}}),
        ("predict", "importance", {"metric": "log_loss", "part": EVIL, "rows": 1, "repeats": 1,
            "value": 1.0, "columns": [{"column": EVIL, "mean": 1.0, "deviation": 0.0}],
            "sentence": EVIL}),
        ("predict", "metrics", {"part": EVIL, "rows": 1, "accuracy": 1.0, "positive": EVIL,
            "baseline": {"accuracy": 0.5, "what": EVIL}, "left_out": 1, "confusion": [[1]],
            "classes": [{"class": EVIL, "precision": 1.0, "recall": 1.0, "f1": 1.0, "rows": 1}]}),
    ],
)  # fmt: skip
def test_control_characters_are_shown_not_obeyed(stage, type_, body):
    text = shown([(stage, type_, body)])
    assert not set("\x1b\x07\r\u202e") & set(text)
    assert "\\x1b[31mr" in "".join(text.split()).replace("|", "")


def test_markup_is_text():
    text = shown([("load", "table", {"columns": [column("[red]a[/red]")], "notes": ["[b]n[/b]"]})])
    assert "[b]n[/b]" in text
    assert "[red]a" in text


def test_long_names_are_cut():
    name = "n" * 1_000_000
    text = shown([("load", "table", {"columns": [column(name, values=name)], "notes": [name]})])
    assert len(text) < 10_000
    assert "(1,000,000 characters)" in "".join(text.split("\n"))


def test_many_columns_are_counted():
    columns = [column(f"c{i}") for i in range(43)]
    text = shown([("load", "table", {"columns": columns, "notes": []})])
    assert "and 3 more columns" in text
    assert "c39" in text
    assert "c40" not in text


def sliced(name, **more):
    """Return the body of a record of groups of rows."""
    group = {
        "group": name, "rows": 40, "few": False, "score": 0.5, "low": 0.25, "high": 1.0, "difference": 0.125,
        "difference_low": -0.25, "difference_high": 0.75, "worse": True, "values": {"log_loss": 0.5, "recall": None},
    }  # fmt: skip
    last = dict.fromkeys(
        ("score", "low", "high", "difference", "difference_low", "difference_high")
    )
    column = {
        "column": name, "kind": "categorical", "how": "2 values", "metric": "log_loss", "greater_is_better": False,
        "groups": [group, {**group, **last, "group": "last", "rows": 3, "worse": False}], "sentence": name,
        "caution": name,
    }  # fmt: skip
    return {
        "part": name,
        "rows": 43,
        "comparisons": 1,
        "columns": [column],
        "sentence": name,
        **more,
    }


def test_groups_of_rows_are_a_table():
    out = io.StringIO()
    TerminalView(out).slices(sliced("Oslo"))
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in out.getvalue().splitlines()
    ]
    assert [
        "Oslo (worse)",
        "40",
        "0.500",
        "0.250 to 1.000",
        "+0.125 (-0.250 to +0.750)",
        "-",
    ] in lines
    assert ["last", "3", "-", "-", "-", "-"] in lines
    assert "Caution: Oslo" in out.getvalue()
    out = io.StringIO()
    TerminalView(out).slices(sliced(EVIL))
    assert not set("\x1b\x07\r\u202e") & set(out.getvalue())


def test_a_fit_says_what_groups_of_rows_say():
    text = shown([("predict", "slices", sliced("island", sentence="No group is worse."))])
    assert text == "By island: No group is worse.\n"


def test_a_fit_shows_the_ten_columns_that_matter_most_and_the_command_more():
    columns = [{"column": f"c{i}", "mean": -i / 7, "deviation": 0.01} for i in range(43)]
    body = {"metric": "rmse", "part": "test", "columns": columns, "sentence": "On 5 rows."}
    text = shown([("predict", "importance", body)])
    assert "and 33 more columns" in text
    assert "| c9 " in text
    assert "| c10 " not in text
    assert "RMSE rises by" in text
    assert "-1.286" in text
    assert "On 5 rows." in text
    file = io.StringIO()
    TerminalView(file).importance(body)
    assert "| c39 " in file.getvalue()
    assert "and 3 more columns" in file.getvalue()


def test_why_there_are_no_pushes_is_said():
    explained = {
        "raw": {}, "error": None, "notes": [], "encoded": {}, "layers": [], "classes": [],
        "probabilities": [], "prediction": 1.5,
    }  # fmt: skip
    example = {"row": 1, "part": "a test row", "explanation": explained}
    assert "Note:" not in shown([("predict", "example", example)]), "of an older Sightline"
    explained |= {"pushes": None, "pushes_note": "pip install it."}
    assert "Note: pip install it." in shown([("predict", "example", example)])


def test_types_without_a_picture_show_nothing():
    assert shown([("run", "start", {}), ("made", "up", {})]) == ""


def test_epochs_make_a_table_and_a_chart():
    end = {"stopped": "all 2 epochs done", "best_epoch": 1}
    bad = epoch(2, "NaN", valid_loss=None, observation="diverging")
    lines = shown(
        [("train", "epoch", epoch(0, 1.0)), ("train", "epoch", epoch(1, 0.5)),
         ("train", "epoch", bad), ("train", "end", end)]
    ).splitlines()  # fmt: skip
    assert lines[0] == "Loss: training, validation. Accuracy: validation rows."
    assert lines[1].split() == ["Epoch", "Loss", "Valid", "Accuracy", "Observation"]
    assert lines[2].split() == ["0", "1.000", "1.000", "0.250", "stable"]
    assert lines[4].split() == ["2", "nan", "-", "0.250", "diverging"]
    assert lines[5] == "Loss (o training, x validation, * both)"
    assert lines[-1] == "all 2 epochs done; the weights of epoch 1 are kept."


def test_regression_shows_rmse():
    body = {**epoch(0, 1.0), "valid_loss": None, "metrics": {"train_rmse": 1234.5}}
    lines = shown([("train", "epoch", body)]).splitlines()
    assert lines[0] == "Loss: training, validation. RMSE: training rows."
    assert lines[2].split() == ["0", "1.000", "-", "1,234", "stable"]


def test_the_plan_says_why():
    body = {"device": "cpu", "device_reason": "no GPU", "precision": "float32", "precision_reason": "small",
            "threads": 1, "threads_reason": "alone"}  # fmt: skip
    assert (
        shown([("train", "plan", body)])
        == "Device: cpu (no GPU), 1 thread (alone), float32 (small).\n"
    )
    assert "2 threads (alone)" in shown([("train", "plan", {**body, "threads": 2})])


def test_events_are_told_between_the_epochs():
    event = {"step": 1234, "epoch": 1}
    text = shown([
        ("train", "epoch", epoch(0, 1.0)), ("train", "edit", {**event, "said": "learning rate up"}),
        ("train", "warning", {**event, "said": "no checkpoint"}), ("train", "layers", {"layers": []}),
        ("train", "epoch", epoch(1, 0.5)), ("train", "replay", {"said": "replayed: all the same"}),
    ])  # fmt: skip
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    assert lines[3:5] == [
        "Edit after step 1,234: learning rate up",
        "After step 1,234: no checkpoint",
    ]
    assert lines[5].split()[0] == "1"
    assert lines[-1] == "Replayed: all the same."


def test_a_row_without_a_prediction_says_why():
    view = TerminalView(file := io.StringIO())
    view.explanation({"raw": {"a": None}, "error": "a letter in a number"}, "Row 1")
    assert file.getvalue().splitlines()[-1] == "No prediction: a letter in a number"


def test_the_progress_bar_is_for_terminals_alone(monkeypatch):
    view = TerminalView(file := io.StringIO())
    view.step(1, 2)
    view.close()
    assert file.getvalue() == ""
    monkeypatch.setenv("TERM", "xterm")
    view = TerminalView(tty := Terminal())
    view.step(1, 2)
    view.close()
    view.close()
    assert "1/2" in tty.getvalue()


def test_the_calibration_error_is_one_line_and_checkpoints_are_none():
    reliability = {"ece": 0.04567, "chance": 0.01, "sentence": "Long.", "bins": []}
    curves = {"part": "test", "rows": 9, "roc": [], "pr": [], "curves_note": "None."}
    assert shown([("predict", "curves", {**curves, "reliability": reliability})]) == (
        "Expected calibration error: 0.046\n"
    )
    assert shown([("predict", "curves", {"part": "test", "rows": 9, "scatter": {}})]) == ""
    assert shown([("predict", "worst", {"part": "test", "rows": [], "sentence": "Long."})]) == ""
    checkpoint = {"step": 9, "epoch": 1, "said": "a checkpoint", "file": "f", "bytes": 5}
    assert shown([("train", "checkpoint", checkpoint)]) == ""
