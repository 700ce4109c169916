"""Pages of text and tables, without scripts: the comparison with training, a tuning."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path

from sightline.archive import atomic_file
from sightline.errors import DataError
from sightline.page.single_file import STATIC


def document(title: str, heading: str, lines: Sequence[str], sections: Sequence[str], about: str) -> str:  # fmt: skip
    """Return a page.

    Args:
        title: Of the browser's tab.
        heading: Of the page.
        lines: What to read first, one paragraph each.
        sections: HTML.
        about: How to read the tables.
    """
    style = (STATIC / "style.css").read_text(encoding="utf-8")
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{digest}'\">"
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body><main><h1>{escape(heading)}</h1>{paragraphs}{''.join(sections)}"
        f'<p class="about">{escape(about)}</p></main></body></html>\n'
    )


def table(title: str, caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a section with a table; the cells of `rows` are HTML."""
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return (
        f'<section><h2>{escape(title)}</h2><div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}">'
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def write_page(page: str, path: Path) -> None:
    """Write a page, atomically.

    Raises:
        DataError: The folder does not exist.
    """
    if not path.parent.is_dir():
        raise DataError(
            f"The folder {path.parent} does not exist.", "Create it, or give another path (-o)."
        )
    with atomic_file(path) as file:
        file.write(page.encode("utf-8", "replace"))
