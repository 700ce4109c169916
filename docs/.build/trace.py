"""Writes docs/trace.md from the types of the records' bodies: `python docs/.build/trace.py`."""

from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from sightline.contracts.records.bodies import BODIES
from sightline.contracts.schema import Label

OPENING = """\
# The trace

`RUN/trace.jsonl` is the record of a run: one JSON object per line, and lines are only ever added.
`sl.Run` reads it.

```python
import sightline as sl

run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
for record in sl.Run(run.folder).records:
    print(record.seq, record.stage, record.type, sorted(record.body))
```

Every line is `{"v": 1, "seq": N, "attempt": N, "time": "...", "stage": "...", "type": "...",
"body": {...}}`.

- `v` is the version of the format.
- `seq` counts the records of a run from 0.
- `attempt` is 1 for the first process. A resumed run is a new attempt that starts at some `seq`: readers drop
  the records of earlier attempts from there on. A resumed run also writes its checkpoint again, and the
  record of it.
- `time` is ISO 8601 in UTC.
- `stage` and `type` say which record it is, and so which fields `body` has: see the tables below.

Numbers that JSON does not have are the texts `"NaN"`, `"Infinity"` and `"-Infinity"`. A last line without a line
end was cut off by a crash: readers ignore it, and a resumed run ends it before it continues.

The tables are generated from the types in `sightline.contracts.records`. A field marked "optional" may be absent.
`null` is allowed only where the type says so. A record is absent if it does not apply: a run without
trees has no `train/trees`.
"""
WORDS = {
    int: "integer",
    float: "number",
    str: "text",
    bool: "true or false",
    NoneType: "null",
    Any: "any value",
}


def page() -> str:
    """Return the page: a section for each record, then one for each value that records share."""
    rows = [f"| [{title}](#{anchor(title)}) | {body.__doc__} |" for title, body in titled()]
    parts = [
        OPENING,
        "## Records\n",
        "\n".join(["| stage/type | meaning |", "|---|---|", *rows]) + "\n",
    ]
    parts += [section(title, body) for title, body in titled()]
    parts += ["## Values inside records\n", *(section(name(kind), kind) for kind in nested())]
    return "\n".join(parts)


def titled() -> list[tuple[str, type[Any]]]:
    """Return each record's title and body."""
    return [(f"{stage}/{type_}", body) for (stage, type_), body in BODIES.items()]


def anchor(title: str) -> str:
    """Return the link to a heading."""
    return title.lower().replace("/", "")


def section(title: str, kind: type[Any]) -> str:
    """Describe one type as a heading, a sentence and a table of its fields."""
    lines = [
        f"### {title}",
        "",
        str(kind.__doc__),
        "",
        "| field | type | meaning |",
        "|---|---|---|",
    ]
    fields = get_type_hints(kind, include_extras=True)
    for field, hint in sorted(fields.items(), key=lambda pair: pair[0] in kind.__optional_keys__):
        optional = "" if field in kind.__required_keys__ else ", optional"
        lines.append(f"| `{field}` | {words(bare(hint))}{optional} | {meaning(hint)} |")
    return "\n".join(lines) + "\n"


def words(kind: Any) -> str:
    """Write a type in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind == Label:
        return "class"
    if is_typeddict(kind):
        return f"[{name(kind)}](#{anchor(name(kind))})"
    if origin in (Union, UnionType):
        return " or ".join(words(part) for part in inner)
    if origin is Literal:
        return " or ".join(f'`"{value}"`' for value in inner)
    if origin is list:
        return f"list of {words(inner[0])}"
    if origin is tuple:
        return f"\\[{', '.join(words(part) for part in inner)}\\]"
    if origin is dict:
        return f"object, text to {words(inner[1])}"
    return WORDS[kind]


def nested() -> list[type[Any]]:
    """Return the types inside the records' bodies, in the order in which they occur."""
    kinds: dict[type[Any], None] = {}
    for body in BODIES.values():
        kinds |= dict.fromkeys(below(body))
    return [kind for kind in kinds if kind not in BODIES.values()]


def below(kind: Any) -> Iterator[type[Any]]:
    """Yield a type and those inside it that are objects."""
    kind = bare(kind)
    if is_typeddict(kind):
        yield kind
        for hint in get_type_hints(kind, include_extras=True).values():
            yield from below(hint)
    else:
        for inner in get_args(kind):
            yield from below(inner)


def bare(hint: Any) -> Any:
    """Return a type without `NotRequired` and its description."""
    while get_origin(hint) in (NotRequired, Annotated):
        hint = get_args(hint)[0]
    return hint


def meaning(hint: Any) -> str:
    """Return the description in a field's type."""
    while get_origin(hint) is NotRequired:
        hint = get_args(hint)[0]
    return str(hint.__metadata__[0])


def name(kind: type[Any]) -> str:
    """Return a type's name as the page has it."""
    return kind.__name__.removesuffix("Body")


if __name__ == "__main__":
    path = Path(__file__).parent.parent / "trace.md"
    path.write_text(page(), encoding="utf-8")
