"""Options of the command line: those of a fit derive from `sightline.contracts.options`."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from sightline.contracts.request import Declared, declared

Command = Callable[..., Any]


# ------------------------------------------------------------- how values are read


def _pairs(ctx: click.Context, parameter: click.Parameter, value: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in value:
        name, equals, kind = text.rpartition("=")
        if not equals or not name:
            raise click.BadParameter(
                f"{text!r} is not of the form COLUMN=KIND, such as zip=categorical."
            )
        pairs[name] = kind
    return pairs


def _names(ctx: click.Context, parameter: click.Parameter, value: Sequence[str]) -> list[str]:
    try:
        return [name for text in value for name in next(csv.reader([text]), [])]
    except csv.Error as error:
        raise click.BadParameter(
            f'{error}. Write names as in a CSV header: a name with a line end or comma in "quotes".'
        ) from error


def _texts(ctx: click.Context, parameter: click.Parameter, value: Sequence[str]) -> Any:
    return list(value) or None


def _rows(ctx: click.Context, parameter: click.Parameter, value: Any) -> float | int | str | None:
    if not isinstance(value, str):
        return value  # type: ignore[no-any-return]
    try:
        number = float(value)
    except ValueError:
        return value
    if not math.isfinite(number):
        raise click.BadParameter(f"{value!r} is neither a share, nor a number of rows, nor a file.")
    # "1" is one row; "1.0" may be meant as all of them, and is refused.
    rows = number.is_integer() and (number > 1 or value.strip() == "1")
    return int(number) if rows else number


def _threshold(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    try:
        return None if value is None else float(value)
    except ValueError:
        return value


def _class_weights(
    ctx: click.Context, parameter: click.Parameter, value: Sequence[str]
) -> str | dict[str, float] | None:
    if not value or list(value) == ["balanced"]:
        return value[0] if value else None
    weights = {}
    for text in value:
        name, _, number = text.rpartition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            name = ""
        if not name:
            raise click.BadParameter(
                f"{text!r} is neither balanced nor of the form CLASS=WEIGHT, such as yes=5."
            )
    return weights


# For each `form` of the declarations: the callback, and whether the option may be repeated.
OPTION_FORMS: Mapping[str, tuple[Callable[..., Any], bool]] = {
    "pairs": (_pairs, True), "names": (_names, True), "texts": (_texts, True),
    "rows": (_rows, False), "threshold": (_threshold, False), "class_weights": (_class_weights, True),
}  # fmt: skip


# ------------------------------------------------------------- from declarations to options


def fit_options(*groups: str) -> Callable[[Command], Command]:
    """Give a command every declared option of some groups, in their order.

    An option of the group "training" that is not given is None: the quality chooses it.
    """
    chosen = [
        argument
        for argument in declared().values()
        if argument.group in groups and argument.option.flag is not None
    ]
    return _all([_click_option(argument) for argument in chosen])


def named_options(*names: str) -> Callable[[Command], Command]:
    """Give a command some declared options by name."""
    return _all([_click_option(declared()[name]) for name in names])


def _all(options: Sequence[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _click_option(argument: Declared) -> Callable[[Command], Command]:
    option, dashed = argument.option, argument.name.replace("_", "-")
    flag = option.flag or f"--{dashed}"
    default = None if argument.group == "training" and argument.name != "seed" else argument.default
    settings: dict[str, Any] = {"default": default, "help": _help(argument)}
    if option.metavar:
        settings["metavar"] = option.metavar
    if option.form:
        callback, repeated = OPTION_FORMS[option.form]
        settings |= {"callback": callback, "multiple": repeated, "type": str}
        settings["default"] = () if repeated else default
    elif bool in argument.plain_types and argument.default is False:
        return click.option(flag, argument.name, is_flag=True, help=option.help)
    elif bool in argument.plain_types and len(argument.plain_types) == 1:
        flag = f"{flag}/--no-{dashed}"
    elif argument.choices:
        settings["type"] = click.Choice(argument.choices)
    else:
        settings["type"] = next(
            (kind for kind in (str, float, int) if kind in argument.plain_types), str
        )
    return click.option(flag, argument.name, **settings)


def _help(argument: Declared) -> str:
    """Return the help text with the default: in the declared words, or the value itself."""
    option, default = argument.option, argument.default
    if option.default_help:
        return f"{option.help}  [default: {option.default_help}]"
    if default is None or default in ({}, ()):
        return option.help
    words = {True: "yes", False: "no"}
    return f"{option.help}  [default: {words[default] if isinstance(default, bool) else default}]"


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the training settings that were not given, so that the quality chooses them."""
    training = {name for name, argument in declared().items() if argument.group == "training"}
    return {
        name: value for name, value in options.items() if value is not None or name not in training
    }


# ------------------------------------------------------------- options that commands share

run_argument = click.argument("run", type=click.Path())
model_argument = click.argument("model", type=click.Path())
quiet_option = named_options("quiet")
live_option = named_options("live")
network_option = named_options("network")
encoding_option = named_options("encoding")
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
)
keep_option = click.option(
    "--keep", multiple=True, metavar="COLUMNS", callback=_names,
    help="Columns of the input to copy into the output, e.g. id,name. May be repeated.",
)  # fmt: skip
