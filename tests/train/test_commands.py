"""Edits from other processes: whatever is dropped, training goes on."""

import contextlib
import json
import os
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.contracts import SetLearningRate, Stop
from sightline.errors import OptionError
from sightline.train import commands as module
from sightline.train.commands import Commands, command_from_json, send
from tests.train.test_training import same, train, weights


@pytest.fixture
def made(species, tmp_path):
    training = train(species)
    return training, Commands(training, tmp_path), tmp_path


def run(training, commands):
    for _ in training.steps():
        commands.read()


def events(training, *types):
    return [event for event in training.events if event.type in types]


def write_command(run_, text, name="1.json"):
    (run_ / "commands").mkdir(exist_ok=True)
    path = run_ / "commands" / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def left(run_):
    return sorted(path.name for path in (run_ / "commands").iterdir())


def test_edits_are_read_in_the_order_in_which_they_were_sent(made):
    training, commands, folder = made
    names = [
        send(folder, [sl.Widen("hidden.0", 20), SetLearningRate(0.5)]),
        send(folder, [sl.Widen("hidden.0", 24)]),
        send(folder, [sl.Deepen("hidden.0")]),
    ]
    assert names == sorted(names)
    assert left(folder) == names
    commands.read()
    assert left(folder) == []
    next(training.steps())
    said = [event.details["edit"] for event in events(training, "edit")]
    assert [edit["edit"] for edit in said] == ["Widen", "SetLearningRate", "Widen", "Deepen"]
    assert training.network.config()["hidden"] == [24, 24]


def test_a_command_is_in_one_file_of_json(made):
    _, _, folder = made
    name = send(folder, [sl.Freeze("hidden.0")])
    said = json.loads((folder / "commands" / name).read_text())
    assert said == {"edits": [{"edit": "Freeze", "name": "hidden.0"}]}


def test_without_a_folder_there_are_no_commands(made):
    training, commands, folder = made
    run(training, commands)
    assert not (folder / "commands").exists()
    assert events(training, "edit", "refused") == []


BAD = [
    ("", "Expecting value"),
    ("{", "Expecting"),
    ("nonsense", "Expecting value"),
    (b"\xff\xfe\x00", "Expecting value"),
    ("[" * 100_000, ""),
    ("[]", ""),
    ("3", ""),
    ("null", ""),
    ("{}", "edits"),
    ('{"edits": 3}', r"edits is 3\. Give a list"),
    ('{"edits": ["Widen"]}', ""),
    ('{"edits": [{"name": "hidden.0", "width": 20}]}', "no edit None; the edits are"),
    ('{"edits": [{"edit": "Wider", "name": "hidden.0", "width": 20}]}', "no edit 'Wider'"),
    ('{"edits": [{"edit": ["Widen"]}]}', "is no edit"),
    (
        '{"edits": [{"edit": "Widen", "name": "hidden.0"}]}',
        "Widen has the fields name, width: width is missing",
    ),
    (
        '{"edits": [{"edit": "Widen", "name": "hidden.0", "width": 20, "more": 1}]}',
        "'more' is unknown",
    ),
    ('{"edits": [{"edit": "Widen", "name": 3, "width": 20}]}', ""),
    ('{"edits": [{"edit": "Widen", "name": "hidden.0", "width": "20"}]}', "cannot be widened"),
    ('{"edits": [{"edit": "Widen", "name": "hiden.0", "width": 20}]}', "Did you mean 'hidden.0'"),
    ('{"edits": [{"edit": "Widen", "name": "hidden.0", "width": 2}]}', "from 16 units to 2"),
    ('{"edits": [{"edit": "SetLearningRate", "value": NaN}]}', "SetLearningRate has nan"),
    ('{"edits": [{"edit": "Freeze", "name": null}]}', ""),
    ('{"edits": [{"edit": "Replace", "name": "output", "module": "Linear(2, 2)"}]}', "mat1"),
    ('{"edits": [{"edit": "Reload", "network": "n.py:N", "sha256": "0"}]}', "not at n.py"),
    ('{"edits": [{"edit": "Reload", "network": 3, "sha256": 4}]}', ""),
    ('{"edits": [{"edit": "SetEpochs", "value": 1}, {"edit": "Nothing"}]}', "no edit 'Nothing'"),
    ('{"edits": [{"edit": "SetEpochs", "value": 1}, {"edit": "SetEpochs", "value": 0}]}', "is 0"),
]


@pytest.mark.parametrize(("text", "said"), BAD)
def test_a_command_that_cannot_be_used_is_told_of_and_removed(made, species, text, said):
    training, commands, folder = made
    path = write_command(folder, text)
    run(training, commands)
    plain = train(species)
    list(plain)
    (event,) = events(training, "edit", "refused")
    assert event.type == "refused"
    assert event.said.startswith("a command was refused: ")
    assert re.search(said, event.said), event.said
    assert event.details["file"] == path.name
    told = text if isinstance(text, str) else text.decode("utf-8", "replace")
    assert event.details["command"] == told[:1000]
    assert left(folder) == []
    assert same(weights(training), weights(plain))


def test_the_good_ones_beside_a_bad_one(made):
    training, commands, folder = made
    write_command(folder, "{", "0.json")
    write_command(
        folder, '{"edits": [{"edit": "Widen", "name": "hidden.0", "width": 20}]}', "1.json"
    )
    write_command(
        folder, '{"edits": [{"edit": "Widen", "name": "hidden.0", "width": 18}]}', "2.json"
    )
    write_command(folder, '{"edits": [{"edit": "Deepen", "after": "hidden.0"}]}', "3.json")
    run(training, commands)
    assert [event.type for event in events(training, "edit", "refused")] == [
        "refused", "refused", "edit", "edit",
    ]  # fmt: skip
    assert training.network.config()["hidden"] == [20, 20]


def test_files_of_other_kinds_are_left_alone(made):
    training, commands, folder = made
    write_command(folder, "{", "half-written.tmp")
    (folder / "commands" / "folder.json").mkdir()
    run(training, commands)
    assert events(training, "edit", "refused") == []
    assert left(folder) == ["folder.json", "half-written.tmp"]


# ------------------------------------------------------------- what is no edit


CONTROLS = [
    ('{"pause": true}', "pause"),
    ('{"continue": true}', "continue"),
    ('{"one_epoch": true}', "one_epoch"),
    ('{"explain": {"id": "x", "row": {"island": null, "year": 3, "y": true}}}', "explain"),
]


@pytest.mark.parametrize(("text", "kind"), CONTROLS)
def test_other_commands_are_passed_on(made, text, kind):
    training, _, folder = made
    obeyed = []
    commands = Commands(training, folder, obeyed.append)
    write_command(folder, text)
    commands.read()
    assert [command.kind for command in obeyed] == [kind]
    assert (obeyed[0].id, dict(obeyed[0].row)) == (
        ("x", {"island": None, "year": 3, "y": True}) if kind == "explain" else ("", {})
    )
    assert events(training, "refused") == []
    assert left(folder) == []


@pytest.mark.parametrize(("text", "kind"), CONTROLS)
def test_other_commands_are_refused_where_nobody_follows_them(made, text, kind):
    training, commands, folder = made
    write_command(folder, text)
    commands.read()
    (event,) = events(training, "refused")
    assert f"takes edits only, not the command {kind!r}" in event.said


@pytest.mark.parametrize(("text", "kind"), CONTROLS)
def test_what_was_asked_of_an_attempt_that_is_gone(made, text, kind):
    """A pause from before must not hold a resumed run; edits are made still."""
    training, _, folder = made
    for path in (
        write_command(folder, text),
        write_command(folder, '{"edits": [{"edit": "SetBatchSize", "value": 9}]}', "2.json"),
    ):
        os.utime(path, (0, time.time() - 60))
    obeyed = []
    Commands(training, folder, obeyed.append).read()
    assert obeyed == []
    (event,) = events(training, "refused")
    assert "was sent before this run was resumed" in event.said
    assert [type(edit).__name__ for edit in training.waiting] == ["SetBatchSize"]


@pytest.mark.parametrize(("text", "kind"), CONTROLS)
def test_after_the_end_rows_are_explained_and_nothing_else(made, text, kind):
    training, _, folder = made
    list(training)
    obeyed = []
    commands = Commands(training, folder, obeyed.append)
    write_command(folder, text)
    commands.read()
    refused = [event.said for event in events(training, "refused")]
    if kind == "explain":
        assert (len(obeyed), refused) == (1, [])
    else:
        assert (obeyed, len(refused)) == ([], 1)
        assert "Training has ended" in refused[0]


@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(st.characters()) | st.sampled_from(module.COMMAND_KINDS),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*module.COMMAND_KINDS, "edit", "id", "row", "x"]), inner, max_size=3),
))  # fmt: skip
def test_whatever_is_sent_is_a_command_or_refused_in_words(data):
    with contextlib.suppress(OptionError):  # nothing else comes out of it
        assert command_from_json(data).kind in module.COMMAND_KINDS


def test_half_a_character_never_reaches_a_record(made):
    training, commands, folder = made
    write_command(folder, '{"edits": [{"edit": "Stop", "why": "\\ud800"}]}')
    run(training, commands)
    (event,) = events(training, "refused")
    assert "half of a Unicode character" in event.said
    json.dumps(event.to_json(), ensure_ascii=False).encode()


def test_commands_of_one_moment_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(module.time, "time_ns", lambda: 17)
    names = [module.write_command(tmp_path, {"pause": True}) for _ in range(12)]
    assert names == sorted(set(names))


def test_stop_ends_it(made):
    training, commands, folder = made
    for step in training.steps():
        if step.number == 2:
            send(folder, [Stop("stopped by sightline edit")])
        commands.read()
    assert training.progress.steps == 2
    assert training.stopped == "stopped by sightline edit in epoch 1"


def test_a_look_is_not_taken_at_each_step(made, monkeypatch):
    _, commands, _ = made
    now, looks = [100.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(commands, "read", lambda: looks.append(now[0]))
    for now[0] in (100.0, 100.1, 100.25, 100.3, 100.5):
        commands.after_step()
    assert looks == [100.0, 100.25, 100.5]
