"""Edits from other processes: whatever is dropped, training goes on."""

import json
import re

import pytest

import sightline as sl
from sightline.contracts import SetLearningRate, Stop
from sightline.train import commands as module
from sightline.train.commands import Commands, send
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


def drop(run_, text, name="1.json"):
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
    ('{"edits": 3}', "not iterable"),
    ('{"edits": ["Widen"]}', ""),
    ('{"edits": [{"name": "hidden.0", "width": 20}]}', "no edit None; the edits are"),
    ('{"edits": [{"edit": "Wider", "name": "hidden.0", "width": 20}]}', "no edit 'Wider'"),
    ('{"edits": [{"edit": ["Widen"]}]}', "unhashable"),
    ('{"edits": [{"edit": "Widen", "name": "hidden.0"}]}', "Widen: .*missing"),
    ('{"edits": [{"edit": "Widen", "name": "hidden.0", "width": 20, "more": 1}]}', "more"),
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
    path = drop(folder, text)
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
    drop(folder, "{", "0.json")
    drop(folder, '{"edits": [{"edit": "Widen", "name": "hidden.0", "width": 20}]}', "1.json")
    drop(folder, '{"edits": [{"edit": "Widen", "name": "hidden.0", "width": 18}]}', "2.json")
    drop(folder, '{"edits": [{"edit": "Deepen", "after": "hidden.0"}]}', "3.json")
    run(training, commands)
    assert [event.type for event in events(training, "edit", "refused")] == [
        "refused", "refused", "edit", "edit",
    ]  # fmt: skip
    assert training.network.config()["hidden"] == [20, 20]


def test_files_of_other_kinds_are_left_alone(made):
    training, commands, folder = made
    drop(folder, "{", "half-written.tmp")
    (folder / "commands" / "folder.json").mkdir()
    run(training, commands)
    assert events(training, "edit", "refused") == []
    assert left(folder) == ["folder.json", "half-written.tmp"]


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
