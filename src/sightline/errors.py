"""Every error that Sightline raises, drawn as a tree.

    SightlineError
    |-- UserError              something you can put right; the command line exits with 2
    |   |-- DataError          a file, a table, a column, a value; also a ValueError
    |   |-- OptionError        an argument or an option; also a ValueError
    |   |-- NetworkError       an nn.Module that does not fit the table
    |   |-- BundleError        a .sightline or .onnx file that cannot be used
    |   |-- ExportError        an exported model whose answers differ from the model's
    |   `-- RunError           a run folder that cannot be used
    `-- InternalError          a bug in Sightline; always shown with its traceback

    KeyboardInterrupt
    `-- Interrupted            a fit that a signal stopped and that can be resumed

A user error states what is wrong and ends with what to do about it. Data and option errors are
`ValueError`s too, because users of scikit-learn catch those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


class SightlineError(Exception):
    """The base class of every error that Sightline raises on purpose.

    Example:
        >>> import sightline as sl
        >>> try:
        ...     sl.read("nowhere.csv")
        ... except sl.SightlineError as error:
        ...     print(type(error).__name__)
        DataError
    """


class UserError(SightlineError):
    """A mistake that the user can correct: what is wrong, and what to do.

    Args:
        problem: One or two sentences that name the file, line or column and the value, and state
            the rule.
        fix: What to do, as a sentence.

    Example:
        >>> from sightline.errors import DataError
        >>> str(DataError("people.csv is empty.", "Give a file with a header and rows."))
        'people.csv is empty. Give a file with a header and rows.'
    """

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(f"{problem} {fix}")
        self.problem = problem
        self.fix = fix

    def __reduce__(self) -> tuple[Any, ...]:  # joblib sends errors between processes
        return type(self), (self.problem, self.fix)


class DataError(UserError, ValueError):
    """Data that cannot be read or cannot be used in the way requested.

    Example:
        >>> import sightline as sl
        >>> try:
        ...     sl.read({"age": [31, 54], "city": ["Oslo"]})
        ... except ValueError as error:
        ...     print(error)
        The columns have different lengths: 'age' 2, 'city' 1. Give them the same length.
    """


class DataWarning(UserWarning):
    """Something in a table that the user should know of, although nothing stops.

    The command line prints it to standard error, with --quiet too.

    Example:
        >>> from sightline.errors import DataWarning
        >>> issubclass(DataWarning, UserWarning)
        True
    """


class OptionError(UserError, ValueError):
    """An argument or option that is invalid, or that contradicts another one."""


class NetworkError(UserError):
    """A network (an `nn.Module`) that does not fit the table."""


class BundleError(UserError):
    """A `.sightline` file that is damaged, foreign, or newer than this version."""


class ExportError(UserError):
    """An exported model whose answers differ from those of the model it was made of."""


class RunError(UserError):
    """A run folder that does not exist, is not a run, or is already in use."""


class Interrupted(KeyboardInterrupt):
    """A fit that a signal stopped and that can be resumed from its checkpoint.

    Attributes:
        signal: The signal's number.
        run: The run folder.
        step: The number of steps that were done.
        written: Whether a checkpoint was written.
    """

    def __init__(self, signal: int, run: object, step: int, written: bool = True) -> None:
        import shlex

        saved = (
            "a checkpoint is written"
            if written
            else "no checkpoint could be written, but an older one exists"
        )
        super().__init__(
            f"Interrupted after step {step:,}; {saved}. Go on with: sightline resume {shlex.quote(str(run))}"
        )
        self.signal, self.run, self.step, self.written = signal, run, step, written

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.signal, self.run, self.step, self.written)


class InternalError(SightlineError):
    """A bug in Sightline: please report it with its traceback."""


def did_you_mean(
    name: str, known: Iterable[str], what: str = "columns", meant: Sequence[str] = ()
) -> str:
    """Suggest the most similar known name, and list the known names.

    Args:
        name: As it was written.
        known: The names that exist.
        what: What they are.
        meant: Those of them that are meant, if that is known: then the others are not listed.

    Example:
        >>> from sightline.errors import did_you_mean
        >>> did_you_mean("specie", ["island", "species"])
        "Did you mean 'species'? The columns are: 'island', 'species'."
    """
    names = list(known)
    if meant:
        return f"Did you mean {' or '.join(map(repr, meant))}?"
    if not names:
        return f"There are no {what}."
    import difflib  # only for a mistake: `sightline --help` need not wait for it

    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if not close:  # only the case differs: difflib does not see that
        close = [other for other in names if other.lower() == name.lower()]
    shown = listed([shorten(repr(other), 40) for other in names], 12)
    start = f"Did you mean {close[0]!r}? " if close else ""
    return f"{start}The {what} are: {shown}."


def shorten(text: str, width: int = 60) -> str:
    """Cut a long text for a message and add its full length.

    Example:
        >>> from sightline.errors import shorten
        >>> shorten("a" * 100, 20)
        'aaaaaaaaaaaaaaaaaaaa... (100 characters)'
    """
    return text if len(text) <= width else f"{text[:width]}... ({len(text):,} characters)"


def cut(text: str, width: int) -> str:
    """Cut a text for a list or a table's head, where its full length would be one number too many.

    Example:
        >>> from sightline.errors import cut
        >>> cut("Neutered Male", 10), cut("Cat", 10)
        ('Neutere...', 'Cat')
    """
    return text if len(text) <= width else f"{text[: width - 3]}..."


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Write a count with its noun in the singular or plural; a comma separates thousands.

    Example:
        >>> from sightline.errors import counted
        >>> counted(1, "row"), counted(2000, "row"), counted(0, "category", "categories")
        ('1 row', '2,000 rows', '0 categories')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


WORDS = {"kernel": "kernel model", "neighbors": "nearest neighbours"}
"""Identifiers that are no words by themselves; `spelled` in page/static/dom.js has the same."""


def spelled(name: str) -> str:
    """Write an identifier, such as the name of a part of a model, as words.

    Example:
        >>> from sightline.errors import spelled
        >>> spelled("second_network"), spelled("neighbors")
        ('second network', 'nearest neighbours')
    """
    return WORDS.get(name, name.replace("_", " "))


def listed(names: Sequence[str], most: int, noun: str = "") -> str:
    """List the first few names and count the others.

    Example:
        >>> from sightline.errors import listed
        >>> listed(["a", "b"], 2), listed(["a", "b", "c"], 2), listed(["a", "b", "c"], 1, "column")
        ('a, b', 'a, b and 1 more', 'a and 2 more columns')
    """
    shown, others = ", ".join(names[:most]), len(names) - most
    if others <= 0:
        return shown
    return f"{shown} and {counted(others, f'more {noun}') if noun else f'{others:,} more'}"


def readable(value: float, digits: int = 4) -> str:
    """Write a number for a sentence: `digits` significant digits, commas between thousands, an exponent only if needed.

    Example:
        >>> from sightline.errors import readable
        >>> readable(22776.6), readable(0.43154), readable(-12.0), readable(0.0000123)
        ('22,777', '0.4315', '-12', '1.23e-05')
    """
    if 1000 <= abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"
