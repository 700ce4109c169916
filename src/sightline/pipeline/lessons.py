"""teach(): a lesson of what goes wrong: a fault and its cure as two real runs, side by side on one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sightline.contracts.rules import check_bool, check_seed
from sightline.lesson.fault_records import BETTER, FaultName, LessonBody, Side, side
from sightline.lesson.faults import FAULTS, find_fault, lines
from sightline.page.document import write_page
from sightline.page.lesson import lesson_page
from sightline.pipeline.fit import fit
from sightline.pipeline.folder import Run
from sightline.pipeline.lesson_rows import EXPERIMENTS
from sightline.pipeline.runs import run_folder
from sightline.trace.compare import compare
from sightline.views.printer import Printer

PAGE_FILE = "lesson.html"
UNCHANGED = ("source", "edits", "plan.", "versions.")
"""Settings that follow from others, or that say nothing of what was changed."""


@dataclass(frozen=True)
class Taught:
    """A lesson that was given.

    Attributes:
        runs: The runs by name: "fault", "cure", sometimes a third one.
        folder: Where they are.
        page: The page that shows them side by side.
        body: All that the page shows, as JSON values.
    """

    runs: dict[str, Run]
    folder: Path
    page: Path
    body: LessonBody


def teach(
    lesson: str, *, run: str | Path | None = None, seed: int = 0, quiet: bool = False
) -> Taught:
    """Show what goes wrong in training, and its cure: small real runs on made-up rows, and a page with three questions.

    The lessons: "overfitting", "learning-rate", "leakage" (a column that knows the answer), "imbalance" (a rare class),
    "vanishing" (gradients that vanish), "unscaled" (numbers that are not scaled), "label-noise" (wrong labels).

    Args:
        lesson: Its name.
        run: The folder to make, with a run folder in it for each run and lesson.html; None makes
            `runs/lesson-NAME-TIME`.
        seed: Seed of the rows, the split, the first weights and the batches.
        quiet: Whether to print nothing.

    Returns:
        The runs, the page, and what it shows.

    Raises:
        OptionError: There is no such lesson, or the seed is not from 0.
        RunError: The folder exists already.

    Example:
        >>> import sightline as sl
        >>> taught = sl.teach("leakage", quiet=True)
        >>> taught.body["sides"][0]["observed"]["said"].split(" in ")[0]
        'refund alone predicts customer'
        >>> fault, cure = (one["measured"]["accuracy on later rows"] for one in taught.body["sides"])
        >>> fault < cure
        True
    """
    name, _ = find_fault(lesson)
    check_seed(seed)
    check_bool("quiet", quiet)
    with run_folder(f"lesson-{name}", run) as folder:
        taught = give(name, folder, seed)
    if not quiet:
        printer = Printer()
        for line in lines(taught.body):
            printer.say(line)
    return taught


def give(name: FaultName, folder: Path, seed: int, report: bool = True) -> Taught:
    """Make the runs of a lesson and its page.

    Args:
        name: Of the lesson.
        folder: Where to make them; it may exist.
        seed: As in `teach`.
        report: Whether each run has a report, which takes longer than its training.

    Example:
        >>> from pathlib import Path
        >>> from sightline.pipeline.lessons import give
        >>> taught = give("leakage", Path("a-lesson"), seed=0, report=False)
        >>> sorted(path.name for path in taught.folder.iterdir())
        ['cure', 'fault', 'lesson.html']
    """
    fault, experiment = FAULTS[name], EXPERIMENTS[name](seed)
    folder.mkdir(parents=True, exist_ok=True)
    runs: dict[str, Run] = {}
    sides: list[Side] = []
    for attempt in experiment.attempts:
        made = fit(
            attempt.rows, experiment.target, seed=seed, run=folder / attempt.name, report=report, quiet=True, **attempt.options
        )  # fmt: skip
        later = None if experiment.later is None else made.model.evaluate(experiment.later)
        sides.append(side(attempt.name, attempt.title, str(made.folder), made.records, fault, later))  # fmt: skip
        runs[attempt.name] = made
    settings = compare(*(made.folder for made in runs.values()))["settings"]
    page = folder / PAGE_FILE
    body = LessonBody(
        lesson=name, title=fault.title, seed=seed, fault=fault.fault, cure=fault.cure, sides=sides,
        changed={what: values for what, values in settings.items() if not what.startswith(UNCHANGED)},
        better={what: BETTER[what] for what in fault.measures if what in BETTER},
        later=fault.later,
        questions=[{"question": asked, "answer": answer} for asked, answer in fault.asked(sides)],
        others=[other for other in FAULTS if other != name], folder=str(folder), page=str(page),
    )  # fmt: skip
    write_page(lesson_page(body), page)
    return Taught(runs, folder, page, body)
