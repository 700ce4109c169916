"""The command `sightline`: parse arguments, call the API, print.

Nothing heavy is imported before a command runs, so that `--help` is instant.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any, NoReturn, TextIO

import click

from sightline.cli.change import edit
from sightline.cli.output import safe
from sightline.cli.predict import check, evaluate, explain, importance, inspect, predict
from sightline.cli.ship import card, distill, export, serve, threshold
from sightline.cli.show import compare, live, quiz, report, runs
from sightline.cli.train import demo, fit, replay, resume, tune
from sightline.errors import DataWarning, Interrupted, UserError, did_you_mean


class Commands(click.Group):
    """A group whose unknown commands get a suggestion."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find a command; if it is unknown, suggest the most similar one."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            from sightline.contracts.other_names import COMMANDS, ours

            if args[0] in ("help", "version"):
                raise click.UsageError(
                    f"No such command {args[0]!r}. Type sightline --{args[0]}.", ctx
                )
            names, typed = self.list_commands(ctx), args[0].lower().replace("_", "-")
            meant = [typed] if typed in names else ours(typed, names, COMMANDS)
            raise click.UsageError(
                f"No such command {args[0]!r}. {did_you_mean(args[0], names, 'commands', meant)}",
                ctx,
            )
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="sightline")
def cli() -> None:
    """Deep learning on tables with PyTorch, with every stage visible.

    \b
    sightline demo                                  watch five stages on made-up rows
    sightline inspect flowers.csv                   what each column would become
    sightline fit flowers.csv --target species      the five stages on your table
    sightline predict MODEL new.csv -o out.csv      a prediction and probabilities per row
    """


for command in (demo, fit, tune, resume, replay, edit, runs, live, compare, predict, evaluate, check, importance, explain, inspect, threshold, distill, export, card, serve, report, quiz):  # fmt: skip
    cli.add_command(command)


def _fail(text: str, code: int) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(code)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    file: TextIO | None = None, line: str | None = None,
) -> None:  # fmt: skip
    """Print a warning about the user's data as a sentence, any other one as Python does."""
    if issubclass(category, DataWarning):
        click.echo(f"Warning: {safe(str(message))}", err=True)
    else:
        click.echo(warnings.formatwarning(message, category, filename, lineno), err=True, nl=False)


def main() -> None:
    """Run the command. A user's mistake prints one message and exits with 2; a bug prints a traceback.

    If the reader of a pipe ends early, such as head, click exits without a message.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that cannot print a character prints ? instead of failing.
            stream.reconfigure(errors="replace")
    warnings.showwarning = _show_warning
    try:
        cli(prog_name="sightline", standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort) as error:
        cause = error.__cause__  # click makes an Abort of every KeyboardInterrupt
        if isinstance(cause, Interrupted):
            _fail(safe(str(cause)), 128 + cause.signal)
        _fail("\nInterrupted.", 130)
    except UserError as error:
        _fail(f"Error: {safe(error.problem)} {safe(error.fix)}", 2)
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        _fail(f"Error: {what}{error.strerror or error}. No incomplete file was left. Free some space or "
              "choose another folder, then try again.", 2)  # fmt: skip
