"""What every output on the terminal shares: the console, safe text, tables and the progress bar."""

from __future__ import annotations

from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sightline.views.format import plain

PLAIN_WIDTH = 100
MOST_COLUMNS = 40


class Printer:
    """Prints sentences and tables. Names from the data are cut, and their control characters escaped.

    If the output is not a terminal, it is plain text: no colour, no progress bar, lines of 100
    characters.

    Args:
        file: Where to print; None is standard output.

    Example:
        >>> import sys
        >>> from sightline.views.printer import Printer
        >>> Printer(sys.stdout).say("3 rows")
        3 rows
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self.console = Console(file=file, highlight=False, soft_wrap=False)
        if not self.console.is_terminal:
            self.console.width = PLAIN_WIDTH
        self._progress: Progress | None = None
        self._bar: Any = None

    def say(self, text: str) -> None:
        """Print a sentence."""
        self.show(Text(plain(text, 4000)))

    def heading(self, text: str, style: str = "bold cyan") -> None:
        """Print an emphasized line."""
        self.show(Text(plain(text, 300), style=style))

    def show(self, renderable: Any, soft: bool = False) -> None:
        """Print text or a table, above the progress bar if there is one; `soft` does not break lines."""
        self.console.print(renderable, soft_wrap=soft)

    def new_table(self, *heads: str, title: str | None = None) -> Table:
        """Begin a table with these column heads."""
        table = Table(
            box=self.box(), title=Text(plain(title, 100)) if title else None, title_justify="left"
        )
        for head in heads:
            table.add_column(Text(head), overflow="fold")
        return table

    def box(self) -> box.Box:
        """Return the lines of tables: ASCII if the output is not a terminal."""
        return box.ROUNDED if self.console.is_terminal else box.ASCII2

    def more_columns(self, count: int, shown: int = MOST_COLUMNS) -> None:
        """Say how many columns were not printed."""
        if count > shown:
            self.say(f"and {count - shown} more columns")

    def step(self, done: int, total: int) -> None:
        """Move the progress bar; only a terminal has one."""
        if not self.console.is_terminal:
            return
        if self._progress is None:
            self._progress = Progress(
                TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"),
                TimeRemainingColumn(), console=self.console, transient=True, refresh_per_second=8,
            )  # fmt: skip
            self._bar = self._progress.add_task("training", total=total)
            self._progress.start()
        self._progress.update(self._bar, completed=done)

    def close(self) -> None:
        """Remove the progress bar."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
