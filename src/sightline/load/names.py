"""Column names: unique and never empty."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.errors import shorten


def unique_names(header: Sequence[str | None]) -> tuple[list[str], dict[str, str]]:
    """Make column names unique and non-empty.

    Returns:
        The names, and for each new name the reason.

    Example:
        >>> from sightline.load.names import unique_names
        >>> unique_names(["a", "", "a"])[0]
        ['a', 'column_2', 'a_2']
    """
    names: list[str] = []
    notes: dict[str, str] = {}
    taken = {name for name in header if name}
    for number, given in enumerate(header, start=1):
        name = given or ""
        if not name.strip():
            name = _free(f"column_{number}", set(names) | taken)
            notes[name] = f"column {number} has no name in the header"
        elif name in names:
            name = _free(name, set(names) | taken, start=2)
            notes[name] = f"the header has {shorten(given or '')!r} more than once"
        names.append(name)
    return names, notes


def _free(stem: str, taken: set[str], start: int = 1) -> str:
    name, number = (stem, 2) if start == 1 else (f"{stem}_{start}", start + 1)
    while name in taken:
        name, number = f"{stem}_{number}", number + 1
    return name
