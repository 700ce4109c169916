"""tune(): many fits with other options, the best of them fitted once more (extra `tune`, Optuna).

All trials see the same split, and are compared by the loss on held-out rows (out of fold, or validation). The test rows are measured
once, after the last fit. The score of the best trial is optimistic: it is the best of many on the same rows.
"""

from __future__ import annotations

import importlib
import json
import math
import multiprocessing
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import torch

from sightline.archive import atomic_file
from sightline.contracts import FitOptions, Ray, RunOptions, Step
from sightline.contracts.arguments import names_checked
from sightline.contracts.options import ReadOptions, SplitOptions
from sightline.contracts.request import declared
from sightline.errors import (
    OptionError,
    RunError,
    UserError,
    counted,
    did_you_mean,
    listed,
    readable,
)
from sightline.load.databases import Query, spool_query
from sightline.load.large import LargeTable, read_within
from sightline.load.limits import in_units, settle_limit
from sightline.load.object_stores import Stored
from sightline.load.on_ray import started
from sightline.load.sources import as_source
from sightline.load.table import Table
from sightline.page.document import write_page
from sightline.page.tuning import tuning_page
from sightline.pipeline.beginnings import Fresh
from sightline.pipeline.fit import fit_with
from sightline.pipeline.flow import Loaded, Observer, run_stages
from sightline.pipeline.folder import Run
from sightline.pipeline.runs import run_folder
from sightline.pipeline.spool import DATA, kept_files, refuse_secrets, saying
from sightline.trace.records import find, lock, read_records
from sightline.train.training import Training

DEFAULT = "default"
"""The attribute of the trial with the default options."""
SETTINGS_FILE = "tuning.json"
RESULT_FILE, PAGE_FILE = "trials.json", "tuning.html"
LEAST_FOR_IMPORTANCE = 8
"""With fewer complete trials there are no importances."""
FIXED = (
    *(item.name for item in fields(ReadOptions)), *(item.name for item in fields(SplitOptions)),
    *(item.name for item in fields(RunOptions)), "target", "seed", "network", "quality", "eval_metric", "class_weights",
    "time_limit", "baselines", "threshold", "calibrate", "device", "precision", "doctor",
)  # fmt: skip
"""Options that are the same in every trial: with another one, losses could not be compared, or nothing would be tuned."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; `log` draws their logarithm evenly, `whole` draws whole numbers."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Any, ...]


Space = Mapping[str, Range | Choice]
DEFAULT_SPACE: Space = {
    "learning_rate": Range(3e-4, 1e-2, log=True),
    "weight_decay": Range(1e-5, 1e-1, log=True),
    "dropout": Range(0.0, 0.5),
    "hidden": Choice(
        ((32,), (64,), (64, 64), (128, 128), (64, 64, 64), (128, 128, 128), (256, 256))
    ),
    "numeric": Choice(("quantile", "robust", "standard")),
    "batch_size": Choice((None, 64, 256, 1024)),
}
"""What is tuned of the default model where nothing else is asked for. Its trees are the same in every trial."""
OWN_SPACE: Space = {
    name: DEFAULT_SPACE[name] for name in ("learning_rate", "weight_decay", "numeric", "batch_size")
}
"""The same of a network of your own, whose layers are its own."""


@dataclass(frozen=True)
class Trial:
    """One fit.

    Attributes:
        number: From 0; the first one has the default options.
        state: "complete", "pruned" (stopped early, because it was worse than most at the same epoch) or "failed".
        values: The options that were varied.
        loss: The loss on held-out rows, or the metric asked for; None unless it is complete.
        epochs: Epochs that were trained.
        seconds: How long it took.
        error: Why it failed; "" if it did not.
        default: Whether it had the default options.
    """

    number: int
    state: str
    values: Mapping[str, Any]
    loss: float | None
    epochs: int
    seconds: float
    error: str = ""
    default: bool = False


@dataclass(frozen=True)
class Tuned:
    """The result of `tune`.

    Attributes:
        folder: Where everything is: the study, trials.json, tuning.html, trial-N (the run).
        trials: All trials, in order.
        best: The one with the lowest loss.
        importances: Of each option, its share of what made losses differ (PED-ANOVA); empty with few trials.
        metric: What was compared, such as "out-of-fold loss".
        run: The fit with the best options, measured on the test rows.
    """

    folder: Path
    trials: tuple[Trial, ...]
    best: Trial
    importances: Mapping[str, float]
    metric: str
    run: Run

    def to_json(self) -> dict[str, Any]:
        """Return everything but the run as JSON values."""
        return {
            "metric": self.metric, "best": vars(self.best), "importances": dict(self.importances),
            "trials": [dict(vars(trial)) for trial in self.trials], "run": str(self.run.folder),
        }  # fmt: skip

    def sentences(self) -> list[str]:
        """Return the result in words."""
        states = [trial.state for trial in self.trials]
        said = [
            f"{counted(len(states), 'trial')}: {states.count('complete')} complete, {states.count('pruned')} pruned, "
            f"{states.count('failed')} failed.",
        ]
        first = next((trial for trial in self.trials if trial.default), self.best)
        if first.loss is not None and self.best.loss is not None:
            said.append(
                f"Best {self.metric}: {readable(self.best.loss, 5)} in trial {self.best.number}, "
                f"{readable(first.loss, 5)} with the default options. The best of many is optimistic: the test metrics of the "
                "last fit are not."
            )
        changed = {
            name: value
            for name, value in self.best.values.items()
            if value != first.values.get(name)
        }
        shown = ", ".join(f"{name} {_shown(value)}" for name, value in changed.items())
        said.append(f"Best options: {shown}." if shown else "The default options are the best.")
        if self.importances:
            most = listed(
                [f"{name} {100 * share:.0f} %" for name, share in self.importances.items()], 4
            )
            said.append(f"What mattered: {most}.")
        return said


def _shown(value: Any) -> str:
    return readable(value, 3) if isinstance(value, float) else str(value)


@names_checked
def tune(
    source: Any,
    target: str,
    *,
    trials: int = 50,
    workers: int | None = None,
    space: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    prune: bool = True,
    **options: Any,
) -> Tuned:
    """Fit many times with other options, and once more with the best ones.

    An interrupted tuning goes on when it is called again with the same folder and options.

    Args:
        source, target: As in `sl.fit`.
        trials: How many fits, the first one with the default options.
        workers: Processes that fit side by side; None means one, or those of `engine`. With more than one, the order of the trials depends on the clock.
        space: By option of `sl.fit`, what to try: (low, high) for numbers, drawn evenly, or with even logarithms where
            high is ten times low or more; a list of values. None tries `DEFAULT_SPACE`.
        folder: Where to write; None makes `runs/NAME-tuned-TIME`. A folder that holds a tuning with the same arguments
            is continued.
        prune: Whether a fit is stopped that is worse than the median of the others at the same epoch.
        options: Of `sl.fit`, for all fits; with `engine`, a Ray cluster makes the trials, `workers` at a time, in a folder
            that all machines find at the same place, and this process the last fit.

    Returns:
        The trials, the best one, what mattered, and the run with the best options.

    Raises:
        OptionError: The extra `tune` is not installed, the space does not fit, or as `sl.fit`.
        RunError: The folder holds another tuning, another process tunes there, or no trial was complete.
        DataError: As `sl.fit`.

    Example:
        >>> import sightline as sl
        >>> tuned = sl.tune("examples/penguins.csv", "species", trials=3, quality="fast", epochs=2, report=False,
        ...                 quiet=True)
        >>> len(tuned.trials), tuned.metric, tuned.run.metrics["accuracy"] > 0.9
        (3, 'out-of-fold loss', True)
    """
    optuna = _optuna()
    engine = RunOptions(engine=options.pop("engine", None)).engine
    if workers is None:
        workers = engine.most_workers if isinstance(engine, Ray) else 1
    for name, number in (("trials", trials), ("workers", workers)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise OptionError(f"{name} is {number!r}.", "Give a whole number from 1.")
    own = options.get("network") is not None
    ranges = (OWN_SPACE if own else DEFAULT_SPACE) if space is None else parse_space(space)
    if space is None:  # what was given is not varied
        ranges = {name: one for name, one in ranges.items() if options.get(name) is None}
    asked = FitOptions.of(target, **{**options, "run": None})
    _check_space(ranges, asked)
    refuse_secrets(asked)
    source = as_source(source, asked.read.query)
    with _place(source, folder) as place:
        # Several processes on several machines have a journal, not SQLite.
        several = max(workers, 2) if engine is not None else workers
        kept = _Kept(source, asked, ranges, several, prune, place)
        kept.check()
        with _only_one(place):
            kept = kept.spooled()
            study = kept.open(optuna)
            table = _same_table(kept, study)
            _forget_unfinished(study, optuna)
            if not study.trials:
                study.enqueue_trial({}, user_attrs={DEFAULT: True})
            if isinstance(engine, Ray):
                _on_ray(kept, study, trials, engine, workers)
            elif workers > 1:
                _side_by_side(kept, study, trials)
            if isinstance(engine, Ray) or workers > 1:
                _forget_unfinished(study, optuna)  # of processes that were killed
            _work(kept, trials, table)  # with several workers, what is left
            return _result(kept, study, optuna)


def _place(source: Any, folder: str | Path | None) -> AbstractContextManager[Path]:
    """Return the folder that was given, which may hold a tuning to go on with, or a new one."""
    if folder is not None:
        return nullcontext(Path(folder))
    stem = "table"
    if isinstance(source, Query | Stored):
        stem = source.stem
    elif isinstance(source, str | Path):
        stem = Path(source).name.split(".")[0]
    return run_folder(f"{stem}-tuned", None)


def parse_space(space: Mapping[str, Any]) -> Space:
    """Read a space as people write it.

    Raises:
        OptionError: An option that does not exist or cannot be varied, or a range that is none.

    Example:
        >>> from sightline.pipeline.tuning import parse_space
        >>> parse_space({"dropout": (0, 0.3), "numeric": ["robust", "minmax"]})["dropout"]
        Range(low=0, high=0.3, log=False, whole=False)
    """
    if not space:
        raise OptionError("The space is empty.", "Name options of sl.fit to vary, or leave it out.")
    known = [name for name in declared() if name not in FIXED]
    return {name: _parsed(name, value, known) for name, value in space.items()}


def _parsed(name: str, value: Any, known: Sequence[str]) -> Range | Choice:
    if name not in known:
        raise OptionError(
            f"The option {name!r} cannot be tuned.", did_you_mean(name, known, "options")
        )
    if isinstance(value, tuple):
        numbers = [
            one for one in value if isinstance(one, int | float) and not isinstance(one, bool)
        ]
        if len(value) != 2 or len(numbers) != 2 or not -math.inf < value[0] < value[1] < math.inf:
            raise OptionError(
                f"The range of {name} is {value!r}.", "Give (low, high), such as (0.001, 0.1)."
            )
        low, high = value
        whole = (
            isinstance(low, int) and isinstance(high, int) and int in declared()[name].plain_types
        )
        return Range(low, high, low > 0 and high >= 10 * low, whole)
    if isinstance(value, list) and value:
        return Choice(tuple(tuple(one) if isinstance(one, list) else one for one in value))
    raise OptionError(
        f"The values of {name} are {value!r}.", "Give (low, high), or a list of one value or more."
    )


def _check_space(space: Space, options: FitOptions) -> None:
    """Refuse values that no fit takes, before any trial.

    Raises:
        OptionError: Of the first such value.
    """
    for name, one in space.items():
        whole = int in declared()[name].plain_types and float not in declared()[name].plain_types
        if isinstance(one, Range) and (
            (whole and not one.whole) or not {int, float} & set(declared()[name].plain_types)
        ):
            raise OptionError(
                f"The range of {name} is ({one.low}, {one.high}).",
                "Give whole numbers."
                if whole
                else "It is no number: give a list of values to try.",
            )
        for value in one.values if isinstance(one, Choice) else (one.low, one.high):
            _with(options, {name: list(value) if isinstance(value, tuple) else value})


def parse_vary(texts: Sequence[str]) -> dict[str, Any] | None:
    """Read what the command line says of a space: NAME=LOW..HIGH or NAME=VALUE|VALUE.

    Raises:
        OptionError: A text is of neither form.

    Example:
        >>> from sightline.pipeline.tuning import parse_vary
        >>> parse_vary(["dropout=0..0.3", "numeric=robust|minmax", "hidden=64|128,128", "batch_size=none|256"])
        {'dropout': (0.0, 0.3), 'numeric': ['robust', 'minmax'], 'hidden': [[64], [128, 128]], 'batch_size': [None, 256]}
    """
    space: dict[str, Any] = {}
    for text in texts:
        name, sign, values = text.partition("=")
        name = name.strip().replace("-", "_")
        try:
            if not sign or not name:
                raise ValueError
            if ".." in values:
                low, high = values.split("..")
                whole = low.strip().isdigit() and high.strip().isdigit() and low != "0"
                space[name] = (int(low), int(high)) if whole else (float(low), float(high))
            else:
                space[name] = [_value(name, one.strip()) for one in values.split("|")]
        except ValueError:
            raise OptionError(
                f"--vary {text!r} is of neither form.",
                "Write NAME=LOW..HIGH or NAME=VALUE|VALUE, such as learning_rate=0.0003..0.01 or numeric=robust|quantile.",
            ) from None
    return space or None


def _value(name: str, text: str) -> Any:
    if name == "hidden":
        return [int(one) for one in text.split(",")]
    constants = {"none": None, "true": True, "false": False}
    if text.lower() in constants:
        return constants[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


# ------------------------------------------------------------- the study


@dataclass(frozen=True)
class _Kept:
    """What every process of a tuning needs."""

    source: Any
    options: FitOptions
    space: Space
    workers: int
    prune: bool
    folder: Path

    def check(self) -> None:
        """Write what this tuning is into its folder, or see that it is the same as before."""
        try:
            said = {
                "options": {**self.options.to_json(), "run": {}}, "prune": self.prune, "several": self.workers > 1,
                "space": {name: {"kind": type(one).__name__, **vars(one)} for name, one in self.space.items()},
                "source": str(self.source) if isinstance(self.source, str | Path | Query | Stored) else "in memory",
            }  # fmt: skip
            text = json.dumps(said, indent=1)
        except TypeError as error:
            raise OptionError(f"The space cannot be written down: {error}.", "Use numbers, texts, lists and None.") from error  # fmt: skip
        path = self.folder / SETTINGS_FILE
        if path.exists():
            if json.loads(path.read_text(encoding="utf-8")) != json.loads(text):
                raise RunError(
                    f"{self.folder} holds another tuning: other options, another space, source or kind of workers.",
                    "Give the same arguments as then, or another folder.",
                )
            return
        if self.folder.exists() and any(self.folder.iterdir()):
            raise RunError(f"{self.folder} is not empty.", "Choose another folder.")
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            file.write(text.encode())

    def spooled(self) -> Self:
        """Read the rows of a query or the files of a store once, into the folder: all fits have the same."""
        if isinstance(self.source, Stored):
            return replace(
                self, source=kept_files(self.source, self.folder, self.options.run.quiet)
            )
        if not isinstance(self.source, Query):
            return self
        path = self.folder / DATA
        if not path.exists():
            spool_query(self.source, path, path, saying(self.options.run.quiet))
        options = replace(self.options, read=replace(self.options.read, query=None))
        return replace(self, source=path, options=options)

    def read(self) -> Table:
        """Read the table into memory, once for all trials.

        Raises:
            OptionError: It does not fit within the memory limit.
        """
        limit = settle_limit(self.options.run.memory_limit)
        table = read_within(self.source, self.options.read, limit)
        if isinstance(table, LargeTable):
            raise OptionError(
                f"{table.sample.name} has {table.rows:,} rows, which do not fit within memory_limit={in_units(limit)}.",
                "Tune on a part of the rows, or give a larger memory_limit (--memory-limit).",
            )
        return table

    def open(self, optuna: Any, number: int = 0) -> Any:
        """Open the study: SQLite for one process, a journal for several."""
        if self.workers == 1:
            storage: Any = f"sqlite:///{self.folder / 'study.db'}"
        else:
            journal = importlib.import_module("optuna.storages.journal")
            backend = journal.JournalFileBackend(str(self.folder / "study.journal"))
            storage = journal.JournalStorage(backend)
        pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2)
        study = optuna.create_study(
            storage=storage, study_name="tuning", load_if_exists=True,
            pruner=pruner if self.prune else optuna.pruners.NopPruner(),
        )  # fmt: skip
        done = sum(trial.state.is_finished() for trial in study.trials)
        seed = self.options.seed + number + 1000 * done  # the draws go on where they were
        study.sampler = optuna.samplers.TPESampler(seed=seed)
        return study


def _optuna() -> Any:
    try:
        optuna = importlib.import_module("optuna")
    except ImportError:
        raise OptionError(
            "Tuning needs optuna, which is not installed.",
            'Install it: pip install "sightline[tune]".',
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _same_table(kept: _Kept, study: Any) -> Table:
    """Read the table; refuse another one than that of the trials before."""
    table = kept.read()
    fingerprint = table.fingerprint()
    if study.user_attrs.get("fingerprint", fingerprint) != fingerprint:
        raise RunError(
            f"{table.name} has changed since the first trials in {kept.folder}.",
            "Restore it, or choose another folder.",
        )
    study.set_user_attr("fingerprint", fingerprint)
    return table


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Keep a second process away from a folder; the lock ends with the process."""
    with (folder / "lock").open("wb", buffering=0) as file:
        try:
            lock(file, folder)
        except RunError:
            raise RunError(
                f"Another process tunes in {folder}.", "Wait for its end, or choose another folder."
            ) from None
        yield


def _forget_unfinished(study: Any, optuna: Any) -> None:
    """Give up trials that a killed process left unfinished; their options are tried again."""
    states = optuna.trial.TrialState
    for trial in study.get_trials(states=(states.RUNNING,)):
        study.tell(trial.number, state=states.FAIL)
        default = {DEFAULT: True} if trial.user_attrs.get(DEFAULT) else None
        study.enqueue_trial(trial.params, user_attrs=default)


def _next(study: Any, optuna: Any, trials: int) -> Any:
    """Return a new trial; None when there are enough. Trials that a killed process did not end do not count."""
    trial, states = study.ask(), optuna.trial.TrialState
    before = [one for one in study.get_trials(deepcopy=False) if one.number < trial.number]
    if sum(_counts(one, optuna) or one.state == states.RUNNING for one in before) < trials:
        return trial
    study.tell(trial, state=states.FAIL)
    return None


def _side_by_side(kept: _Kept, study: Any, trials: int) -> None:
    """Fit in several processes, each with its share of the threads."""
    context = multiprocessing.get_context("spawn")
    study.set_user_attr("refused", None)
    threads = max((os.cpu_count() or 1) // kept.workers, 1)
    processes = [
        context.Process(target=_process, args=(kept, trials, number, threads), daemon=True)
        for number in range(1, kept.workers + 1)
    ]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.terminate()
    if refused := study.user_attrs.get("refused"):
        raise OptionError(*refused)
    codes = [process.exitcode for process in processes]
    if any(codes):
        warnings.warn(
            f"Of {kept.workers} processes that tune, some ended early (exit codes {', '.join(map(str, codes))}); this "
            "one makes the trials that are left.",
            RuntimeWarning, stacklevel=4,
        )  # fmt: skip


def _on_ray(kept: _Kept, study: Any, trials: int, engine: Ray, workers: int) -> None:
    """Fit in the processes of a Ray cluster; one that is lost is started again."""
    study.set_user_attr("refused", None)
    with started(engine) as ray:
        sent = ray.put(ray.cloudpickle.dumps(kept))
        threads = max(int(engine.cpus), 1)
        process = ray.remote(_process_on_ray).options(
            num_cpus=engine.cpus, num_gpus=engine.gpus, max_retries=int(engine.failures)
        )
        running = [
            process.remote([sent], trials, n, threads, os.getcwd()) for n in range(1, workers + 1)
        ]
        for one in running:
            try:
                ray.get(one)
            except ray.exceptions.RayError as error:
                warnings.warn(
                    f"A process of Ray that tunes has ended early ({str(error).strip().splitlines()[0]}); this one makes "
                    "the trials that are left.",
                    RuntimeWarning, stacklevel=3,
                )  # fmt: skip
    if refused := study.user_attrs.get("refused"):
        raise OptionError(*refused)


def _process_on_ray(sent: list[Any], trials: int, number: int, threads: int, here: str) -> None:
    """Fit in a process of a Ray cluster, in the working folder from which paths are meant."""
    ray = importlib.import_module("ray")
    if os.path.isdir(here):
        os.chdir(here)
    _process(ray.cloudpickle.loads(ray.get(sent[0])), trials, number, threads)


def _process(kept: _Kept, trials: int, number: int, threads: int) -> None:
    """Fit in a process of its own."""
    torch.set_num_threads(threads)
    try:
        _work(kept, trials, kept.read(), number)
    except UserError as error:
        kept.open(_optuna()).set_user_attr("refused", (error.problem, error.fix))


def _work(kept: _Kept, trials: int, table: Table, number: int = 0) -> None:
    """Fit until there are enough trials."""
    optuna = _optuna()
    study = kept.open(optuna, number)
    while (trial := _next(study, optuna, trials)) is not None:
        _fit(study, trial, kept, table, optuna)


def _fit(study: Any, trial: Any, kept: _Kept, table: Table, optuna: Any) -> None:
    """Make one trial."""
    states = optuna.trial.TrialState
    began, watch = time.perf_counter(), _Watch(trial)
    state, loss = states.COMPLETE, None
    try:
        options = _with(kept.options, _suggested(trial, kept), report=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the last fit says them
            finished = run_stages(Fresh(table, options), [watch]).finished
        loss = watch.best if finished.held_out_loss is None else finished.held_out_loss
        if loss is None or not math.isfinite(loss):
            raise RunError(
                "The loss on held-out rows is not a finite number.", "Try other options."
            )
    except _Pruned:
        state, loss = states.PRUNED, None
    except UserError as error:
        if trial.user_attrs.get(DEFAULT):
            raise  # the default options do not work: nothing will
        trial.set_user_attr("error", str(error))
        state, loss = states.FAIL, None
    trial.set_user_attr("seconds", time.perf_counter() - began)
    trial.set_user_attr("epochs", watch.epochs)
    study.tell(trial, loss, state)


class _Pruned(Exception):  # noqa: N818 - no error: a trial that is not worth its time
    """A trial is stopped."""


class _Watch(Observer):
    """Tells a trial the loss of each epoch on held-out rows, and stops it where the trial says so."""

    def __init__(self, trial: Any) -> None:
        self.trial, self.epochs = trial, 0
        self.best: float | None = None

    def loaded(self, loaded: Loaded) -> None:
        """Refuse a table without held-out rows."""
        if loaded.splits.folds is None and not len(loaded.splits.valid):
            raise OptionError("There are no held-out rows to compare trials on.", "Give valid rows, or leave valid out.")  # fmt: skip

    def steps(self, training: Training, steps: Iterator[Step]) -> Iterator[Step]:
        """Pass the steps through."""
        for step in steps:
            self._look(training)
            yield step
        self._look(training)

    def _look(self, training: Training) -> None:
        numbers = training.progress.numbers
        for number in range(self.epochs + 1, len(numbers)):
            self.epochs = number
            loss = numbers[number].criterion
            if not math.isfinite(loss):
                continue
            self.best = loss if self.best is None else min(self.best, loss)
            self.trial.report(self.best, number)
            if self.trial.should_prune():
                raise _Pruned


def _suggested(trial: Any, kept: _Kept) -> dict[str, Any]:
    """Return the values of a trial; the first one has none of its own, that is, the default options."""
    if trial.user_attrs.get(DEFAULT):
        return {}
    values: dict[str, Any] = {}
    for name, one in kept.space.items():
        if isinstance(one, Choice):
            texts = [json.dumps(value) for value in one.values]
            value = json.loads(trial.suggest_categorical(name, texts))
        elif one.whole:
            value = trial.suggest_int(name, int(one.low), int(one.high), log=one.log)
        else:
            value = trial.suggest_float(name, one.low, one.high, log=one.log)
        values[name] = value
    return values


def _with(options: FitOptions, values: Mapping[str, Any], **run: Any) -> FitOptions:
    """Return the options of a fit with other values."""
    groups = {name: vars(getattr(options, name)) for name in ("read", "split", "model", "run")}
    merged = {key: value for group in groups.values() for key, value in group.items()}
    merged |= {**options.training, **values, **run}
    return FitOptions.of(options.target, seed=options.seed, **merged)


# ------------------------------------------------------------- the result


def _result(kept: _Kept, study: Any, optuna: Any) -> Tuned:
    """Fit with the best options, and write down what was found."""
    trials = tuple(_trial(one, kept) for one in study.trials if _counts(one, optuna))
    complete = [trial for trial in trials if trial.loss is not None]
    if not complete:
        errors = [trial.error for trial in trials if trial.error]
        raise RunError(
            f"No trial was complete{': ' + errors[0] if errors else '.'}",
            "Correct the options, or the space.",
        )
    best = min(complete, key=lambda trial: (trial.loss, trial.number))
    importances: dict[str, float] = {}
    varied = [one for one in study.trials if one.state.name == "COMPLETE" and one.params]
    if len(varied) >= LEAST_FOR_IMPORTANCE:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importances = optuna.importance.get_param_importances(study)
    run = _last_fit(kept, best)
    held = "validation" if run.find("load", "split")[-1].body["folds"] == 0 else "out-of-fold"
    metric = f"{held} {kept.options.training.get('eval_metric') or 'loss'}"
    tuned = Tuned(kept.folder, trials, best, importances, metric, run)
    with atomic_file(kept.folder / RESULT_FILE) as file:
        file.write(json.dumps(tuned.to_json(), indent=1).encode())
    write_page(tuning_page(tuned.to_json(), tuned.sentences()), kept.folder / PAGE_FILE)
    return tuned


def _last_fit(kept: _Kept, best: Trial) -> Run:
    """Fit with the best options; a fit of an earlier call is complete, or begun again."""
    folder = kept.folder / f"trial-{best.number}"
    if folder.exists():
        records, _ = read_records(folder)
        if find(records, "run", "end"):
            return Run(folder, network=kept.options.model.network)
        shutil.rmtree(folder)
    return fit_with(kept.source, _with(kept.options, best.values, run=str(folder)))


def _counts(trial: Any, optuna: Any) -> bool:
    """Leave out trials that a killed process did not end; they were tried again."""
    states = optuna.trial.TrialState
    return trial.state in (states.COMPLETE, states.PRUNED) or "error" in trial.user_attrs


def _trial(trial: Any, kept: _Kept) -> Trial:
    names = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    values = {
        name: json.loads(value) if isinstance(kept.space[name], Choice) else value
        for name, value in trial.params.items()
    }
    attributes = trial.user_attrs
    return Trial(
        trial.number, names[trial.state.name], values, trial.value if trial.state.name == "COMPLETE" else None, int(attributes.get("epochs", 0)),
        float(attributes.get("seconds", 0.0)), attributes.get("error", ""), bool(attributes.get(DEFAULT)),
    )  # fmt: skip
