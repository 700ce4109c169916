"""Options of the command line: those of a fit derive from `sightline.contracts.options`.

The declarations are imported when a command runs or shows its help, not before: `sightline --help`
needs a sentence of each command and no option.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sightline.cli.output import safe
from sightline.errors import OptionError

if TYPE_CHECKING:
    from sightline.contracts import Ray
    from sightline.contracts.request import Declared

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


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
    import csv

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


def _widths(ctx: click.Context, parameter: click.Parameter, value: str | None) -> list[int] | None:
    try:
        return None if value is None else [int(one) for one in value.split(",")]
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r} is not a list of whole numbers, such as 128,128."
        ) from error


# For each `form` of the declarations: the callback, and whether the option may be repeated.
OPTION_FORMS: Mapping[str, tuple[Callable[..., Any], bool]] = {
    "pairs": (_pairs, True), "names": (_names, True), "texts": (_texts, True),
    "rows": (_rows, False), "threshold": (_threshold, False), "class_weights": (_class_weights, True),
    "widths": (_widths, False),
}  # fmt: skip


# ------------------------------------------------------------- from declarations to options


class Command(click.Command):
    """A command that makes its declared options when they are first needed, and says which one was meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; of an option that does not exist, say what it is called here."""
        ctx.allow_extra_args = True  # so that they can be answered here
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(self._meant(ctx, error.option_name), ctx) from None
        if ctx.args and not ctx.resilient_parsing:
            raise click.UsageError(self._unexpected(ctx.args), ctx)
        return rest

    def _unexpected(self, arguments: Sequence[str]) -> str:
        """Say what to do with arguments that the command does not take: the target is often typed without its option."""
        listed = " ".join(map(shlex.quote, arguments))
        if len(arguments) == 1 and any("--target" in one.opts for one in self.params):
            return f"Unexpected argument: {listed}. Did you mean --target {listed}?"
        return f"Unexpected {'argument' if len(arguments) == 1 else 'arguments'}: {listed}."

    def _meant(self, ctx: click.Context, typed: str) -> str:
        """Say which option or argument was meant by a name, as far as that can be known."""
        from sightline.contracts.other_names import ARGUMENTS, ELSEWHERE, VALUES, ours, plain_name

        plain = plain_name(typed)
        options = {
            one.name: one.opts[0] if len(one.opts) == 1 else max(one.opts, key=len)
            for one in self.params
            if isinstance(one, click.Option) and not one.hidden and one.name is not None
        }
        problem = f"No such option: {typed}."
        if meant := ours(plain, options):
            value = VALUES.get(plain) if len(meant) == 1 and not self._is_flag(meant[0]) else None
            named = " or ".join(
                f"{options[name]} {value}" if value else options[name] for name in meant
            )
            return f"{problem} Did you mean {named}?"
        arguments = {
            one.name: one.make_metavar(ctx)
            for one in self.params if isinstance(one, click.Argument) and one.name is not None
        }  # fmt: skip
        if given := [
            name for name in arguments if plain == name or plain in ARGUMENTS.get(name, ())
        ]:
            usage = " ".join(arguments.values())
            return f"{problem} {arguments[given[0]]} is written without an option: {ctx.command_path} {usage}"
        if plain in ELSEWHERE:
            return f"{problem} {ELSEWHERE[plain]}"
        group = ctx.parent.command if ctx.parent is not None else None
        others = [
            name for name, command in group.commands.items()
            if any(typed in one.opts for one in command.get_params(ctx))
        ] if isinstance(group, click.Group) else []  # fmt: skip
        if others:
            return f"{problem} It is an option of {', '.join(others)}."
        import difflib  # only for a mistake

        spelled = {plain_name(flag): flag for one in self.params for flag in one.opts + one.secondary_opts
                   if isinstance(one, click.Option) and not one.hidden}  # fmt: skip
        close = difflib.get_close_matches(plain, spelled, n=1, cutoff=0.6)
        return f"{problem} Did you mean {spelled[close[0]]}?" if close else problem

    def _is_flag(self, name: str) -> bool:
        return any(
            one.name == name and isinstance(one, click.Option) and one.is_flag
            for one in self.params
        )

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters, each declared option in its place."""
        self.params = [
            made
            for one in self.params
            for made in (one.make() if isinstance(one, DeclaredOptions) else [one])
        ]
        return super().get_params(ctx)


class DeclaredOptions(click.Option):
    """Stands for declared options among the parameters of a `Command` until they are needed."""

    def __init__(
        self, param_decls: Sequence[str], names: Sequence[str], groups: Sequence[str]
    ) -> None:
        super().__init__(param_decls)
        self.names, self.groups = names, groups

    def make(self) -> list[click.Option]:
        """Make the options: those named, and all of the groups, in the order of the declarations."""
        from sightline.contracts.request import declared

        return [
            _click_option(argument)
            for argument in declared().values()
            if argument.name in self.names
            or (argument.group in self.groups and argument.option.flag is not None)
        ]


def fit_options(*groups: str) -> Decorator:
    """Give a `Command` every declared option of some groups.

    An option of the group "training" that is not given is None: the quality chooses it.
    """
    return click.option("--declared", cls=DeclaredOptions, names=(), groups=groups)


def named_options(*names: str) -> Decorator:
    """Give a `Command` some declared options by name."""
    return click.option("--declared", cls=DeclaredOptions, names=names, groups=())


def _click_option(argument: Declared) -> click.Option:
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
        return click.Option([flag, argument.name], is_flag=True, help=option.help)
    elif bool in argument.plain_types and len(argument.plain_types) == 1:
        flag = f"{flag}/--no-{dashed}"
    elif argument.choices:
        settings["type"] = click.Choice(argument.choices)
    else:
        settings["type"] = next(
            (kind for kind in (str, float, int) if kind in argument.plain_types), str
        )
    return click.Option([flag, argument.name], **settings)


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
    from sightline.contracts.request import declared

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
query_option = named_options("query")


def _engines(*more: str) -> Decorator:
    said = "What computes: onnx needs an .onnx file, or a bundle with one (export --into-bundle)"
    if more:
        said += "; ray predicts in the processes of a Ray cluster"
    return click.option(
        "--engine", type=click.Choice(["auto", "onnx", "torch", *more]), default="auto", show_default=True, help=f"{said}."
    )  # fmt: skip


engine_option = _engines()
predict_engine_option = _engines("ray")
workers_option = click.option(
    "--workers", metavar="N|LEAST-MOST",
    help="With --engine ray: how many processes, e.g. 8, or 2-8 to go on with fewer when machines are lost.  [default: 2]",
)  # fmt: skip


def ray_engine(engine: str | None, workers: str | None) -> Ray | None:
    """Return the engine that --engine and --workers name together.

    Raises:
        OptionError: --workers is no number, or given without --engine ray.
    """
    from sightline.contracts import Ray

    if engine == "ray":
        return Ray.parse(workers)
    if workers is not None:
        raise OptionError(
            "--workers is given without --engine ray.",
            "Give both; or start processes of one machine with torchrun --nproc-per-node N -m -- sightline fit ...",
        )
    return None


target_option = click.option(
    "--target", metavar="COLUMN", help="The column to predict, e.g. species."
)


def target_of(source: str, target: str | None, options: Mapping[str, Any]) -> str:
    """Return the target; without one, say which columns the table has.

    Args:
        source: The table, which is read only where the target is missing; a pipe is not.
        target: What was given to --target.
        options: All options of the command.

    Raises:
        click.MissingParameter: There is no target.
    """
    if target:
        return target

    from sightline.contracts.options import ReadOptions
    from sightline.contracts.request import declared
    from sightline.errors import UserError, listed, shorten
    from sightline.load.table import column_names
    from sightline.load.text_files import is_stream

    read = {name: options[name] for name, one in declared().items() if one.group == "read"}
    try:
        names = [] if is_stream(Path(source)) else column_names(source, ReadOptions(**read))
    except (
        UserError,
        OSError,
    ):  # the columns are a help; what is wrong with the table is said when it is fitted
        names = []
    columns = ""
    if names:
        shown = listed([safe(shorten(repr(name), 40)) for name in names], 30)
        columns = f"The columns of {safe(source)} are: {shown}. Give the one to predict, such as --target {shlex.quote(safe(names[-1]))}"
    raise click.MissingParameter(
        columns, param_hint="'--target'", param_type="option", ctx=click.get_current_context()
    )


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
)
ready_json_option = click.option(
    "--json", "as_json", is_flag=True, help="When it is ready, print one line with a JSON object: its address."
)  # fmt: skip
keep_option = click.option(
    "--keep", multiple=True, metavar="COLUMNS", callback=_names,
    help="Columns of the input to copy into the output, e.g. id,name. May be repeated.",
)  # fmt: skip
