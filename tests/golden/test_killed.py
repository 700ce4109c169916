"""A run that an older Sightline left behind, killed while it trained, can be resumed and replayed."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import sightline as sl
from tests.golden.kill import RUNS, machine, outcome

HERE = Path(__file__).parent / "killed"
TABLE = HERE / "table.csv"
EXPECTED = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=RUNS)
def resumed(request, tmp_path_factory):
    """The name of a killed run, and the run resumed."""
    folder = tmp_path_factory.mktemp("killed") / request.param
    shutil.copytree(HERE / request.param, folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = sl.resume(folder, source=TABLE, quiet=True)
    torch.set_num_threads(threads)
    return request.param, run


def test_a_resumed_run_ends_as_it_did_with_the_version_that_began_it(resumed):
    name, run = resumed
    found, expected = outcome(run, TABLE), EXPECTED[name]
    for key in ("steps", "edits", "stopped", "best_epoch"):
        assert found[key] == expected[key]
    if machine() == EXPECTED["machine"]:
        assert found == expected  # the same weights, to the last bit
    # Other processors add in another order, and training carries the difference on.
    for key in ("train_losses", "valid_losses"):
        assert found[key] == pytest.approx(expected[key], rel=1e-3)
    for row, known in zip(found["probabilities"], expected["probabilities"], strict=True):
        assert row == pytest.approx(known, abs=5e-3)
    assert found["metrics"]["log_loss"] == pytest.approx(expected["metrics"]["log_loss"], rel=5e-3)


def test_a_resumed_run_can_be_replayed(resumed, tmp_path):
    _, run = resumed
    again = sl.replay(run.folder, to=tmp_path / "again", source=TABLE, quiet=True)
    replayed = again.find("train", "replay")[-1].body
    # The steps before the kill may have been rounded by another processor.
    assert replayed["edits"] == run.find("train", "end")[-1].body["edits"]
    if machine() == EXPECTED["machine"]:
        assert replayed["identical"]
    assert again.metrics["log_loss"] == pytest.approx(run.metrics["log_loss"], rel=5e-3)


def test_a_resumed_run_has_the_records_of_both_versions(resumed):
    name, run = resumed
    lines = (HERE / name / "trace.jsonl").read_text(encoding="utf-8").splitlines()
    first = [json.loads(line) for line in lines]
    kept = [record for record in run.records if record.attempt == 1]
    assert kept
    for record, known in zip(kept, first, strict=False):
        assert (record.seq, record.type, record.body) == (known["seq"], known["type"], known["body"])  # fmt: skip
    assert run.records[-1].type == "end"
