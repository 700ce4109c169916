"""The page of a fit: it is there before training, and no fit fails for the want of it."""

import os
import signal
import subprocess
import sys

import pytest

import sightline as sl
from sightline.page import launch
from tests.page.serving import alive, place_of, until


@pytest.fixture
def here(tmp_path, monkeypatch, penguins):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "penguins.csv").write_bytes(penguins.read_bytes())
    return tmp_path


@pytest.fixture
def pages(monkeypatch):
    """The servers that fits of this process start; ended afterwards."""
    started, start = [], subprocess.Popen

    def note(*arguments, **options):
        started.append(start(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(launch.subprocess, "Popen", note)
    yield started
    for page in started:
        if alive(page.pid):
            page.kill()


def fit(**options):
    return sl.fit(
        "penguins.csv", "species", run="r", network="MLP", epochs=2, device="cpu", live=True, **options
    )  # fmt: skip


def test_a_fit_prints_where_its_page_is_before_it_trains(here, pages, capsys):
    run = fit()
    out, err = capsys.readouterr()
    site, said = place_of(run.folder)
    assert err == ""
    assert f"\nLive page: {site.address}\n" in out
    assert out.index("Live page: ") < out.index("4. train")
    assert said["pid"] == pages[0].pid
    assert site.ask()[0] == 200  # it lives on behind the fit


def test_a_quiet_fit_prints_nothing(here, pages, capsys):
    run = fit(quiet=True)
    assert capsys.readouterr() == ("", "")
    assert place_of(run.folder)[0].ask()[0] == 200


def test_it_does_not_end_with_the_fit_s_terminal(here, pages):
    run = fit(quiet=True)
    pid = place_of(run.folder)[1]["pid"]
    if hasattr(os, "getpgid"):
        assert os.getpgid(pid) != os.getpgid(0)
        assert os.getsid(pid) != os.getsid(0)
    os.kill(pid, signal.SIGTERM)
    until(lambda: not alive(pid))  # and no zombie of it is left


def test_resume_takes_the_page_that_is_there(here, pages, capsys):
    class Cut(BaseException):
        pass

    class View:
        def __call__(self, record):
            pass

        def step(self, done, total):
            if done == 9:
                raise Cut

        def close(self):
            pass

    with pytest.raises(Cut):
        fit(view=View(), checkpoint_epochs=1, quiet=True)
    site, said = place_of("r")
    capsys.readouterr()
    sl.resume("r", live=True)
    assert f"Live page: {site.address}\n" in capsys.readouterr().out
    assert len(pages) == 1
    os.kill(said["pid"], signal.SIGKILL)
    until(lambda: not alive(said["pid"]))


def test_a_refused_fit_ends_its_page(here, pages):
    with pytest.raises(sl.SightlineError, match="Did you mean 'species'"):
        sl.fit("penguins.csv", "specie", run="r", live=True, quiet=True)
    assert not (here / "r").exists()
    until(lambda: not alive(pages[0].pid))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["-c", "print('Error: no way. Do this.')"], "Error: no way. Do this."),
        (["-c", "import sys; sys.exit('it broke')"], "it broke"),
        (["-c", ""], "the server ended without a message"),
        (["-c", "import time; time.sleep(60)"], "the server did not start within 0.5 s"),
    ],
)
def test_a_fit_goes_on_without_a_page(here, pages, capsys, monkeypatch, command, said):
    monkeypatch.setattr(launch, "_command", lambda run: [sys.executable, *command])
    seconds = 0.5 if "sleep" in command[1] else 20.0
    monkeypatch.setattr("sightline.pipeline.observers.START_SECONDS", seconds)
    run = fit(quiet=True)
    assert run.find("run", "end")
    assert capsys.readouterr().err == f"Warning: there is no live page: {said}\n"


def test_a_fit_goes_on_where_no_process_can_be_started(here, capsys, monkeypatch):
    monkeypatch.setattr(launch, "_command", lambda run: ["/no/such/program"])
    assert fit(quiet=True).find("run", "end")
    assert "no live page: /no/such/program: No such file" in capsys.readouterr().err


def test_a_fit_does_not_wait_for_its_page_to_start(here, pages):
    page = launch.LivePage(here / "r", quiet=True)
    page.announce(0)
    assert not page._announced  # it went on before there was anything to tell
    page.close()
    until(lambda: not alive(pages[0].pid))
