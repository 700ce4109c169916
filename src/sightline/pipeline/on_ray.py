"""A fit on a Ray cluster (extra `ray`): Ray Data reads and prepares, Ray Train runs the same training loop.

This process reads, splits and prepares the table; of one larger than memory, each row group where a processor is free. The
workers get the result, and train as the processes of torchrun do. Worker 0 writes the run folder, which must be on a disk
that all machines share; this process shows its records. When a worker is lost, Ray Train starts all of them again, and they go
on from the last checkpoint.
"""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sightline.archive import atomic_file
from sightline.contracts import FitOptions, Ray, Record
from sightline.errors import Interrupted, OptionError, RunError, UserError
from sightline.load.databases import Query
from sightline.load.object_stores import Stored
from sightline.load.on_ray import (
    RayPieces,
    lacking,
    own_deprecations_hidden,
    processes_of_a_machine,
    started,
)
from sightline.load.sources import as_source
from sightline.page.follow import Follower
from sightline.page.launch import START_SECONDS, live_page
from sightline.pipeline.beginnings import Fresh, Handed, Resumed
from sightline.pipeline.folder import Run
from sightline.pipeline.observers import FitView
from sightline.pipeline.runs import interrupted, make_run, run_folder, view_of
from sightline.pipeline.spool import refuse_secrets
from sightline.pipeline.together import goes_on, objects_of
from sightline.pipeline.warm_start import WarmStart
from sightline.trace.records import TRACE_FILE, being_written, lock
from sightline.train.checkpoints import CHECKPOINTS_FOLDER
from sightline.train.processes import Processes, backends, joined

ERROR = "error"
"""In the temporary folder, the error with which a worker has ended: no other attempt is made."""
LOOK_SECONDS = 0.2
END_SECONDS = 10.0
"""How long the workers may take to end after Ctrl-C, before the run can be gone on with."""
MINUTES_TO_WAIT = 10
"""How long a cluster may take to find a place for the workers."""


def fit_on_ray(
    source: Any, options: FitOptions, view: FitView | None = None, start: WarmStart | None = None
) -> Run:
    """Make a run as `sightline.fit` does, on a Ray cluster; or go on with the one in the folder that the options name.

    Args:
        source, options, view, start: As in `sightline.pipeline.fit.fit_with`.

    Raises:
        OptionError: The extra `ray` is not installed, no cluster answers, or the options are for one process.
        RunError: The folder holds something else than an interrupted run of this fit; or workers were lost more often than
            the engine allows.
        UserError: As `sightline.fit`.
    """
    engine, source = options.run.engine, as_source(source, options.read.query)
    assert isinstance(engine, Ray)
    _check(source, options)
    refuse_secrets(options)
    quiet = options.run.quiet
    with (
        started(engine) as ray,
        _folder(source, options) as (folder, goes),
        _temporary(folder) as temporary,
        live_page(folder, options.run.live, quiet) as show_page,
    ):
        if not quiet and (said := lacking(ray, engine)):
            sys.stderr.write(f"{said}: waiting for more machines.\n")
        options = replace(options, run=replace(options.run, run=str(folder)))
        spread = RayPieces(engine, temporary)
        beginning: Fresh | Resumed
        if goes:
            records, saved = interrupted(folder)
            assert saved is not None  # `goes_on` refuses a complete run
            beginning = Resumed(folder, saved, records, **objects_of(source, options))
        else:
            beginning = Fresh(source, options, start)
            beginning.folder, beginning.sharing = folder.parent, processes_of_a_machine(ray, engine)
        beginning.spread = spread
        loaded = beginning.load()
        settings = beginning.settings if isinstance(beginning, Fresh) else None
        place = loaded.decisions.origin["source"]
        handed = Handed(place, loaded, beginning.prepare(loaded), settings, beginning.deadline)
        show_page(START_SECONDS)
        with _interrupts(folder), _shown(folder, view_of(view, quiet)):
            _train(ray, _Sent(handed, options, start, os.getcwd(), temporary.absolute()))
    return Run(folder, network=options.model.network)


def _check(source: Any, options: FitOptions) -> None:
    if isinstance(source, Query | Stored):
        raise OptionError(
            "The rows of a query or an object store are read once, and on Ray a run may have to begin again.",
            "Write them into a file first.",
        )
    if options.run.watch:
        raise OptionError(
            "watch=True (--watch) is for one process.", "Leave it out, or leave engine='ray' (--engine ray) out."
        )  # fmt: skip


@contextmanager
def _folder(source: Any, options: FitOptions) -> Iterator[tuple[Path, bool]]:
    """Yield the run folder, and whether it holds an interrupted run of the same fit to go on with."""
    asked = options.run.run
    if asked is not None and goes_on(source, options, Processes(run=str(asked))):
        yield Path(asked), True
        return
    with run_folder(source, asked) as folder:
        yield folder, False


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """Yield a folder for what only this fit needs, beside the run folder; what a killed fit has left there is removed.

    Raises:
        RunError: Another process makes this run.
    """
    home = folder.with_name(f"{folder.name}.ray")
    temporary = home / "of-this-fit"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("wb", buffering=0) as file:
        lock(file, folder)
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            yield temporary
        finally:
            shutil.rmtree(home, ignore_errors=True)


def _written(folder: Path) -> bool:
    return (folder / TRACE_FILE).exists() and being_written(folder)


@contextmanager
def _interrupts(folder: Path) -> Iterator[None]:
    """Say after Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        until = time.monotonic() + END_SECONDS
        while _written(folder) and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
        kept = (folder / CHECKPOINTS_FOLDER).glob("step-*.checkpoint")
        if steps := [int(path.stem.removeprefix("step-")) for path in kept]:
            raise Interrupted(signal.SIGINT, folder, max(steps)) from None
        raise


# ------------------------------------------------------------- the workers


@dataclass(frozen=True)
class _Sent:
    """What the workers need.

    Attributes:
        handed: The table.
        options: Of the fit, with its folder.
        start: What a warm start keeps of an earlier model; or None.
        here: The working folder of this process, from which paths are meant.
        temporary: The folder for what only this fit needs.
    """

    handed: Handed
    options: FitOptions
    start: WarmStart | None
    here: str
    temporary: Path


def _train(ray: Any, sent: _Sent) -> None:
    """Train with Ray Train, and raise what a worker has refused."""
    train = importlib.import_module("ray.train")
    torch = importlib.import_module("ray.train.torch")
    logging.getLogger("ray.train").setLevel(logging.CRITICAL)  # its errors are raised as well
    engine = sent.options.run.engine
    assert isinstance(engine, Ray)
    resources: dict[str, float] = {
        "CPU": engine.cpus,
        **({"GPU": engine.gpus} if engine.gpus else {}),
    }
    # Workers that find no place are waited for, a minute each time.
    failures = train.FailureConfig(int(engine.failures), controller_failure_limit=MINUTES_TO_WAIT)
    trainer = torch.TorchTrainer(
        _worker,
        train_loop_config={"sent": [ray.put(ray.cloudpickle.dumps(sent))]},
        scaling_config=train.ScalingConfig(
            num_workers=engine.workers, use_gpu=engine.gpus > 0, resources_per_worker=resources
        ),
        run_config=train.RunConfig(
            name="train", storage_path=str(sent.temporary), failure_config=failures
        ),
        torch_config=torch.TorchConfig(backend=backends(engine.gpus > 0)),
    )  # fmt: skip
    refused = sent.temporary / ERROR
    try:
        with own_deprecations_hidden(), _ctrl_c():
            trainer.fit()
    except train.TrainingFailedError as error:
        if not refused.exists():
            run = shlex.quote(str(sent.options.run.run))
            raise RunError(
                f"Training on Ray ended after {engine.failures:g} new starts: {_first_cause(error)}.",
                f"Repeat the command with --run {run}, or go on in one process: sightline resume {run}",
            ) from error
    if refused.exists():
        raise pickle.loads(refused.read_bytes())  # noqa: S301 - a worker of this fit has written it


@contextmanager
def _ctrl_c() -> Iterator[None]:
    """Let Ctrl-C raise what it always raises: Ray Train ends the program, and keeps its own handler for ever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, before)


def _first_cause(error: Any) -> str:
    """Return what one of the workers has raised, in a line."""
    failures: Mapping[int, Any] = getattr(error, "worker_failures", {})
    lines = str(next(iter(failures.values()), error)).strip().split("\n")
    return lines[-1].rstrip(".")


def _worker(config: dict[str, Any]) -> None:
    """Train as one of the workers."""
    ray = importlib.import_module("ray")
    sent: _Sent = ray.cloudpickle.loads(ray.get(config["sent"][0]))
    if (sent.temporary / ERROR).exists():
        return
    if os.path.isdir(sent.here):
        os.chdir(sent.here)
    try:
        with joined(str(sent.options.run.run)):
            make_run(sent.handed, sent.options, None, sent.start)
    except RunError:  # another worker is lost: Ray Train starts all of them again
        raise
    except UserError as error:  # it would be raised again
        with atomic_file(sent.temporary / ERROR) as file:
            file.write(pickle.dumps(error))
    except SystemExit:  # so ends every worker but the first one
        return


# ------------------------------------------------------------- what is shown here


@contextmanager
def _shown(folder: Path, view: FitView | None) -> Iterator[None]:
    """Show the records that worker 0 writes."""
    if view is None:
        yield
        return
    ended = threading.Event()
    follower = threading.Thread(target=_follow, args=(folder, view, ended), daemon=True)
    follower.start()
    try:
        yield
    finally:
        ended.set()
        follower.join()
        view.close()


def _follow(folder: Path, view: Callable[[Record], None], ended: threading.Event) -> None:
    """Pass new records to a view until the end; records that a new start repeats are left out."""
    follower, shown = Follower(folder), -1
    while True:
        last = ended.wait(LOOK_SECONDS)
        while parsed := follower.read().parsed:
            for fields in parsed:
                if fields["seq"] > shown:
                    shown = fields["seq"]
                    view(Record(**fields))
        if last:
            return
