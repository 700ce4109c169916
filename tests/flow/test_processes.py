"""Models and fits in the processes that people run: forks, threads, pools, pipes, other settings of PyTorch."""

import io
import multiprocessing
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.errors import BundleError

FAST = {"quality": "fast", "epochs": 2, "quiet": True, "report": False, "baselines": False}


def columns(rows=400):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3))
    return {
        "a": x[:, 0],
        "b": x[:, 1],
        "k": rng.choice(["u", "v"], rows),
        "y": np.where(x[:, 0] > 0, "p", "q"),
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return sl.fit(columns(), "y", run=tmp_path_factory.mktemp("r") / "r", **FAST).model


def run(code, folder, timeout=120):
    """Run a script in a process of its own, which a hang cannot take along."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    script = folder / "script.py"
    script.write_text(textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ------------------------------------------------------------- forks, pools, threads


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_predicts_and_fits(tmp_path):
    """As a server does that loads the model, answers once, and forks its workers."""
    said = run(
        """
        import multiprocessing, os
        import numpy as np, sightline as sl

        rng = np.random.default_rng(0)
        x = rng.normal(size=(3000, 8))
        rows = {f"x{j}": x[:, j] for j in range(8)} | {"y": np.where(x[:, 0] * x[:, 1] > 0, "p", "q")}
        options = dict(quality="fast", epochs=2, quiet=True, report=False, baselines=False)
        model = sl.fit(rows, "y", run="parent", **options).model
        here = model.predict_proba(rows)

        def work(number):
            return bool((model.predict_proba(rows) == here).all())

        def fit(number):
            sl.fit({n: v[:400] for n, v in rows.items()}, "y", run=f"child-{number}", **options)
            return os.path.exists(f"child-{number}/model.sightline")

        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map_async(work, range(4)).get(timeout=60), pool.map_async(fit, range(2)).get(timeout=60))
        """,
        tmp_path,
    )
    assert said == "[True, True, True, True] [True, True]\n"


def _predict(model, rows):
    return model.predict_proba(rows)


def test_a_spawned_process_gets_the_model_by_pickle(model):
    rows = columns(20)
    expected = model.predict_proba(rows)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply_async(_predict, (model, rows)).get(timeout=60)
    assert np.allclose(found, expected, atol=1e-6)


def test_threads_predict_at_once_and_leave_the_settings_alone(model):
    rows = columns(64)
    expected, threads = model.predict_proba(rows), torch.get_num_threads()
    single = {name: values[3] for name, values in rows.items()}
    one = model.predict_proba(single)
    with ThreadPoolExecutor(8) as pool:
        many = list(pool.map(lambda n: model.predict_proba(rows if n % 2 else single), range(60)))
    for number, found in enumerate(many):
        assert (found == (expected if number % 2 else one)).all()
    assert torch.get_num_threads() == threads


def test_two_fits_at_once_give_one_model_each_and_folders_of_their_own(tmp_path):
    said = run(
        """
        import hashlib, pathlib
        from concurrent.futures import ThreadPoolExecutor
        import numpy as np, sightline as sl
        from sightline.pipeline import runs as module

        module._now = lambda: "20260101-000000"  # within one second
        rng = np.random.default_rng(0)
        x = rng.normal(size=(300, 2))
        rows = {"a": x[:, 0], "b": x[:, 1], "y": np.where(x[:, 0] > 0, "p", "q")}

        def fit(_):
            run = sl.fit(rows, "y", quality="fast", epochs=2, quiet=True, report=False, baselines=False)
            return run.folder.name, run.model.predict_proba(rows).tobytes()

        with ThreadPoolExecutor(3) as pool:
            made = list(pool.map(fit, range(3)))
        print(sorted(name for name, _ in made), len({found for _, found in made}))
        """,
        tmp_path,
    )
    stem = "table-20260101-000000"
    assert said == f"['{stem}', '{stem}-2', '{stem}-3'] 1\n"


def test_a_refused_fit_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(sl.UserError):
        sl.fit(columns(), "none", quiet=True)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------- settings of PyTorch


SETTINGS = {
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "no gradients": lambda: torch.set_grad_enabled(False),
    "deterministic": lambda: torch.use_deterministic_algorithms(True),
    "three threads": lambda: torch.set_num_threads(3),
}


def state():
    return (torch.get_default_dtype(), torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(),
            torch.get_num_threads(), torch.is_inference_mode_enabled())  # fmt: skip


@pytest.fixture
def put_back():
    before = state()
    yield
    torch.set_default_dtype(before[0])
    torch.set_grad_enabled(before[1])
    torch.use_deterministic_algorithms(before[2])
    torch.set_num_threads(before[3])


@pytest.mark.parametrize("name", [*SETTINGS, "inference mode"])
def test_a_fit_under_each_setting_is_the_same_and_leaves_it(model, name, put_back, tmp_path):
    expected = model.predict_proba(columns())

    def whole():
        set_ = state()
        again = sl.fit(columns(), "y", run=tmp_path / "r", **FAST).model
        assert state() == set_
        found = again.predict_proba(columns())
        loaded = sl.Model.load(tmp_path / "r" / "model.sightline")
        assert all(p.dtype != torch.float64 for p in loaded.network.parameters())
        assert (loaded.predict_proba(columns()) == found).all()
        assert loaded.explain({n: v[0] for n, v in columns().items()}).prediction in ("p", "q")
        assert state() == set_
        return found

    if name == "inference mode":
        with torch.inference_mode():
            found = whole()
    else:
        SETTINGS[name]()
        found = whole()
    assert np.allclose(found, expected, atol=1e-6)


# ------------------------------------------------------------- models from memory, tables from pipes


def test_a_model_from_bytes_files_and_run_folders(model, tmp_path):
    path = tmp_path / "m.sightline"
    model.save(path)
    content, rows = path.read_bytes(), columns(30)
    expected = model.predict_proba(rows)
    buffer = io.BytesIO()
    model.save(buffer)
    assert buffer.getvalue() == content

    class Socket(io.RawIOBase):
        """A file in which nothing can seek."""

        def __init__(self):
            self._rest = content

        def readable(self):
            return True

        def readall(self):
            return self._rest

        def read(self, size=-1):
            return self._rest

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.sightline").write_bytes(content)
    with path.open("rb") as file:
        for source in (content, bytearray(content), memoryview(content), io.BytesIO(content), file, Socket(),
                       tmp_path / "run", str(tmp_path / "run")):  # fmt: skip
            assert (sl.Model.load(source).predict_proba(rows) == expected).all()
        assert not file.closed
    for source, said in (
        (content[:999], r"\(bytes in memory\) is damaged"), (b"a,b\n1,2\n", "is not a Sightline file"), (7, "A int is no file"),
        (io.StringIO("text"), "open as text|is not a Sightline file"),
    ):  # fmt: skip
        with pytest.raises(BundleError, match=said):
            sl.Model.load(source)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "t.csv"
    rows = zip(*columns().values(), strict=True)
    path.write_text("a,b,k,y\n" + "".join(f"{a},{b},{k},{y}\n" for a, b, k, y in rows))
    return path


@pytest.mark.skipif(not os.path.exists("/dev/stdin"), reason="there are no such files here")
def test_rows_through_a_pipe(model, table, tmp_path):
    model.save(tmp_path / "m.sightline")
    command = [sys.executable, "-m", "sightline", "predict", "m.sightline"]

    def piped(source, data=None):
        given = data if data is not None else table.read_bytes()
        return subprocess.run(
            [*command, source], cwd=tmp_path, input=given, capture_output=True, timeout=60
        )

    expected = subprocess.run(
        [*command, table], cwd=tmp_path, capture_output=True, timeout=60
    ).stdout
    assert expected.count(b"\n") == 401
    for source in ("-", "/dev/stdin"):
        assert piped(source).stdout == expected
    fifo = tmp_path / "fifo.csv"
    os.mkfifo(fifo)
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(fifo.write_bytes, table.read_bytes())
        assert piped(fifo).stdout == expected
        written.result(timeout=30)
    nothing = piped("-", b"")
    assert nothing.returncode == 2
    assert nothing.stderr == b"Error: Nothing came through -. Write the table into the pipe.\n"
    bad = piped("-", b"a,b,k\n1,2\n3,4,u,5\n")
    assert b"standard input" in bad.stderr or b"row 0" in bad.stderr


def test_a_fit_from_a_pipe(table, tmp_path):
    command = [sys.executable, "-m", "sightline", "fit", "-", "--target", "y", "--quality", "fast", "--epochs", "1",
               "--no-report", "--quiet"]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, input=table.read_bytes(), capture_output=True, timeout=90
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("stdin-")
    evaluate = [sys.executable, "-m", "sightline", "evaluate", folder]
    again = subprocess.run(evaluate, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert again.returncode == 2
    assert "a table in memory, which cannot be read again" in again.stderr


def test_what_a_stream_cannot_encode_loses_no_key(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("größe,grüße,y\n" + "1.5,2,a\n2.5,3,b\n" * 10, encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for more in (["--json"], []):
        done = subprocess.run(
            [sys.executable, "-m", "sightline", "inspect", path, *more],
            env=environment,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        if more:
            import json

            names = [column["name"] for column in json.loads(done.stdout)["columns"]]
            assert names == ["größe", "grüße", "y"]
