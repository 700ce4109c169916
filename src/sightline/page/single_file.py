"""The front end as one HTML file: scripts, styles and data inside, nothing loaded from elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

STATIC = Path(__file__).parent / "static"


def html_page(data: Mapping[str, Any]) -> str:
    """Return one HTML page with the front end and its data.

    The Content-Security-Policy allows only the scripts and styles inside, by their hashes, and no
    network address.

    Args:
        data: What the front end shows: `records` and `notes`, or `compare`. Numbers are finite.

    Example:
        >>> from sightline.page.single_file import html_page
        >>> "</html>" in html_page({"records": [], "notes": []})
        True
    """
    styles = [_static("uplot.min.css"), _static("style.css")]
    scripts = [_static("uplot.min.js"), bundle()]
    policy = (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    # "</script" would end the script element and "<!--" change its parsing: escape every "<".
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    # JSON allows half of a surrogate pair; UTF-8 does not.
    text = re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)
    head, body = _static("index.html").split("</head>")
    head = re.sub(r"<(link rel=\"stylesheet\"|script)[^>]*>(</script>)?\n", "", head)
    head = head.replace(
        "<meta charset=\"utf-8\">",
        f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy}">',
    )  # fmt: skip
    return (
        head + "".join(f"<style>{style}</style>\n" for style in styles)
        + "</head>" + body.split("</body>")[0]
        + f'<script id="data" type="application/json">{text}</script>\n'
        + f"<script>{scripts[0]}</script>\n<script type=\"module\">{scripts[1]}</script>\n</body>\n</html>\n"
    )  # fmt: skip


@cache
def bundle() -> str:
    """Join the front end's modules into one script: each becomes a function that returns its exports."""
    modules: dict[str, str] = {}

    def add(name: str) -> None:
        text = _static(f"{name}.js")
        for needed in re.findall(r'^import .* from "\./(\w+)\.js";$', text, re.M):
            if needed not in modules:
                add(needed)
        text = re.sub(
            r'^import \* as (\w+) from "\./(\w+)\.js";$',
            r"const \1 = modules.\2;",
            text,
            flags=re.M,
        )
        text = re.sub(
            r'^import (\{.*\}) from "\./(\w+)\.js";$', r"const \1 = modules.\2;", text, flags=re.M
        )
        exported = re.findall(r"^export (?:const|(?:async )?function|class) (\w+)", text, re.M)
        text = re.sub(r"^export ", "", text, flags=re.M)
        modules[name] = (
            f"modules.{name} = (() => {{\n{text}\nreturn {{ {', '.join(exported)} }};\n}})();\n"
        )

    add("app")
    return "const modules = {};\n" + "".join(modules.values())


@cache
def _static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def _hashes(texts: Sequence[str]) -> str:
    digests = [b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
    return " ".join(f"'sha256-{digest}'" for digest in digests)
