"""Commands that show runs: runs, live, compare, report, quiz."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from sightline.cli.options import Command, json_option, ready_json_option, run_argument
from sightline.cli.output import print_json, print_json_line, records_of, safe
from sightline.errors import OptionError, RunError


@click.command(cls=Command)
@run_argument
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen on, e.g. 0.0.0.0 for all networks.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="The port to listen on, e.g. 8000.  [default: the one used before, or a free one]",
)
@click.option(
    "--browser/--no-browser", default=False, help="Open the page in the browser.  [default: no]"
)
@click.option("--of-fit", type=int, hidden=True)
@ready_json_option
def live(
    run: str, host: str, port: int, browser: bool, of_fit: int | None, as_json: bool
) -> None:  # fmt: skip
    """Show RUN in a browser until Ctrl-C, during training or afterwards."""
    from importlib.util import find_spec

    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise OptionError(
            "The live page needs Starlette and uvicorn, which are not installed.",
            'Install them: pip install "sightline[live]"',
        )
    from sightline.page.server import serve

    def ready(address: str) -> None:
        if of_fit is not None:  # one line for the fit; then its output must not stay open
            print_json_line({"address": address})
            _detach_output()
            return
        if as_json:
            print_json_line({"run": run, "address": address})
        else:
            click.echo(f"{safe(run)} is shown at {address} until Ctrl-C.")
        if browser:
            click.launch(address)

    serve(Path(run), host=host, port=port, of_fit=of_fit, ready=ready)


def _detach_output() -> None:
    """Redirect standard output and error to nowhere, so that a pipe of the fit's caller can end."""
    null = os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    for number in (1, 2):
        os.dup2(null, number)
    os.close(null)


@click.command(cls=Command)
@click.argument("folder", type=click.Path(), default="runs")
@json_option
def runs(folder: str, as_json: bool) -> None:
    """List the runs in FOLDER (runs/ by default), the newest first."""
    from sightline.trace.listing import runs as list_runs

    found = list_runs(folder)
    if as_json:
        print_json({"folder": folder, "runs": found})
        return
    if not found:
        click.echo(f"No run is in {safe(folder)}.")
        return
    from sightline.views.terminal import TerminalView

    TerminalView().runs(found)


@click.command(cls=Command)
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option("--page", is_flag=True, help="Write a page that shows the runs side by side.")
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    default="compare.html",
    show_default=True,
    help="The file of the page.",
)
@json_option
def compare(runs: Sequence[str], page: bool, output: str, as_json: bool) -> None:
    """Show which options of RUNS differ, and compare their metrics."""
    from sightline.trace.compare import compare as run_compare

    written = None
    if page:
        from sightline.page.report import write_comparison

        written = write_comparison(runs, output)
        if not as_json:
            click.echo(f"{len(runs)} runs side by side: {safe(str(written))}")
            return
    comparison = run_compare(*runs)
    if as_json:
        print_json({**comparison, **({} if written is None else {"page": str(written)})})
        return
    from sightline.views.terminal import TerminalView

    TerminalView().compared(comparison)


@click.command(cls=Command)
@run_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    help="The file of the page, e.g. flowers.html.  [default: RUN/report.html]",
)
@click.option(
    "--png",
    metavar="DIR",
    help="Write PNG pictures for slides into this folder; with -o the page as well.",
)
@click.option(
    "--svg", metavar="DIR", help="Write the same pictures as vector graphics, for papers."
)
@json_option
def report(run: str, output: str | None, png: str | None, svg: str | None, as_json: bool) -> None:
    """Write RUN as one HTML page, or as pictures."""
    from sightline.views.pictures import pictures

    records, page = records_of(run), None
    drawn = pictures(records, png, "png") if png is not None else []
    drawn += pictures(records, svg, "svg") if svg is not None else []
    if output is not None or (png is None and svg is None):
        from sightline.page.report import write_report

        page = write_report(run, output)
    if as_json:
        print_json({"report": page and str(page), "pictures": list(map(str, drawn))})
        return
    for path in [*drawn, *([page] if page else [])]:
        click.echo(safe(str(path)))


@click.command(cls=Command)
@click.argument("run", type=click.Path())
@json_option
def quiz(run: str, as_json: bool) -> None:
    """Answer three questions about RUN, a run folder, on standard input."""
    import shlex

    from sightline.trace.records import find
    from sightline.views.terminal import TerminalView

    quizzes = find(records_of(run), "lesson", "quiz")
    if not quizzes:
        raise RunError(
            f"{run} has no questions: the run did not end.",
            f"Resume it: sightline resume {shlex.quote(run)}",
        )
    questions = quizzes[-1].body["questions"]
    if as_json:
        print_json({"questions": questions})
        return
    view, right = TerminalView(), 0
    for number, question in enumerate(questions, start=1):
        view.question(number, question)
        answer = _ask()
        if answer is None:
            verdict = "The answer is"
        elif answer == question["right"]:
            right += 1
            verdict = "Right:"
        else:
            verdict = "Not quite: it is"
        click.echo(f"{verdict} {question['right']}. {safe(question['why'])}\n")
    click.echo(f"{right} of {len(questions)} right.")


def _ask() -> str | None:
    """Read A, B, C or D; return None at the end of the input."""
    while True:
        click.echo("Your answer (A, B, C or D): ", nl=False)
        line = sys.stdin.readline() if sys.stdin else ""  # None where it is closed
        if not line:
            click.echo()
            return None
        answer = line.strip().upper()
        if answer in ("A", "B", "C", "D"):
            return answer
        click.echo("Please type A, B, C or D.")
