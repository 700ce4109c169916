"""The formats of files, by the endings of their names."""

from __future__ import annotations

from pathlib import PurePath

CODECS = {".gz": "gzip", ".zst": "zstd"}
ENDINGS = {
    ".csv": "delimited", ".tsv": "delimited", ".txt": "delimited", ".data": "delimited",
    ".parquet": "parquet", ".pq": "parquet",
    ".json": "json", ".jsonl": "json", ".ndjson": "json",
    ".arrow": "ipc", ".ipc": "ipc", ".feather": "ipc", ".arrows": "ipc",
}  # fmt: skip


def format_of(path: PurePath) -> str | None:
    """Tell a file's format by its ending, ignoring `.gz` and `.zst`; None if unknown."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in CODECS:
        suffixes.pop()
    return ENDINGS.get(suffixes[-1]) if suffixes else None


def is_table(path: PurePath) -> bool:
    """Tell whether a file of a folder is read as a part of its table.

    Example:
        >>> from pathlib import Path
        >>> from sightline.load.formats import is_table
        >>> is_table(Path("part-0.parquet")), is_table(Path("_SUCCESS")), is_table(Path(".part.csv"))
        (True, False, False)
    """
    return not path.name.startswith((".", "_")) and format_of(path) is not None
