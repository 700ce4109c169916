"""Compare JSON values with the types that sightline.contracts.records declares."""

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

NOT_FINITE = ("NaN", "Infinity", "-Infinity")


def problems_of(record):
    """Return what is wrong with a record's body: nothing, if it is as its type says."""
    where = f"{record.stage}/{record.type}"
    body = BODIES.get((record.stage, record.type))
    return (
        [f"{where}: unknown type of record"] if body is None else problems(record.body, body, where)
    )


def problems(value, kind, where="body"):
    """Return each place where a JSON value differs from a type."""
    kind = bare(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return []
    if is_typeddict(kind):
        return of_object(value, kind, where)
    if origin in (Union, UnionType):
        found = [problems(value, one, where) for one in inner]
        return [] if [] in found else min(found, key=len)
    if origin is Literal:
        return [] if value in inner else [f"{where}: {value!r} is not one of {inner}"]
    if origin is list:
        if not isinstance(value, list):
            return [wrong(value, kind, where)]
        return [
            p for i, item in enumerate(value) for p in problems(item, inner[0], f"{where}[{i}]")
        ]
    if origin is tuple:
        if not isinstance(value, list) or len(value) != len(inner):
            return [wrong(value, kind, where)]
        pairs = zip(value, inner, strict=True)
        return [
            p for i, (item, one) in enumerate(pairs) for p in problems(item, one, f"{where}[{i}]")
        ]
    if origin is dict:
        if not isinstance(value, dict):
            return [wrong(value, kind, where)]
        return [
            p for key, item in value.items() for p in problems(item, inner[1], f"{where}.{key}")
        ]
    return [] if is_plain(value, kind) else [wrong(value, kind, where)]


def of_object(value, kind, where):
    if not isinstance(value, dict):
        return [wrong(value, kind, where)]
    hints = get_type_hints(kind, include_extras=True)
    any_name = {name[:-1]: hint for name, hint in hints.items() if name.endswith("*")}
    found = [f"{where}: {name} is missing" for name in kind.__required_keys__ - value.keys()]
    for name, item in value.items():
        hint = hints.get(name)
        if hint is None:
            hint = next((one for start, one in any_name.items() if name.startswith(start)), None)
        if hint is None:
            found.append(f"{where}: {name} is not declared in {kind.__name__}")
        else:
            found += problems(item, hint, f"{where}.{name}")
    return found


def bare(kind):
    """Take NotRequired and descriptions off a type."""
    while get_origin(kind) in (NotRequired, Annotated):
        kind = get_args(kind)[0]
    return kind


def is_plain(value, kind):
    if kind is NoneType:
        return value is None
    if kind is float:
        return value in NOT_FINITE if isinstance(value, str) else is_number(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    assert kind in (str, bool), kind
    return isinstance(value, kind)


def is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def wrong(value, kind, where):
    return f"{where}: {str(value)[:60]!r} is no {getattr(kind, '__name__', kind)}"
