"""All options of a fit, as one value with a JSON form."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from sightline.contracts.engines import Ray
from sightline.contracts.metrics import check_metric
from sightline.contracts.options import (
    CUSTOM,
    ModelOptions,
    Option,
    ReadOptions,
    RunOptions,
    SplitOptions,
    TrainingOverrides,
    TrainingSettings,
    training_from_json,
    training_to_json,
)
from sightline.contracts.other_names import no_option
from sightline.contracts.rules import plain_number
from sightline.errors import OptionError, RunError

OPTIONS_VERSION = 1
"""Version of the JSON form of `FitOptions`."""


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """All options of a fit; the table is not one of them.

    Attributes:
        target: The column to predict.
        read, split, model, run: Options by group.
        training: The training settings that were given; the quality chooses the others.
        seed: Decides the split, the first weights, the order of the batches and dropout.

    Raises:
        OptionError: An invalid value.

    Example:
        >>> from sightline.contracts.request import FitOptions
        >>> options = FitOptions.of("species", test=0.2, epochs=5)
        >>> options.split.test, options.training
        (0.2, {'epochs': 5})
        >>> FitOptions.from_json(options.to_json()) == options
        True
    """

    target: str
    read: ReadOptions = field(default_factory=ReadOptions)
    split: SplitOptions = field(default_factory=SplitOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    training: TrainingOverrides = field(default_factory=TrainingOverrides)
    run: RunOptions = field(default_factory=RunOptions)
    seed: int = 0

    def __post_init__(self) -> None:
        training = {name: plain_number(value) for name, value in dict(self.training).items()}
        if "seed" in training:
            raise OptionError(
                "seed is an option of its own.", "Give it beside the training settings."
            )
        object.__setattr__(self, "training", training)
        object.__setattr__(self, "seed", plain_number(self.seed))
        if training.get("eval_metric") is not None:
            check_metric(training["eval_metric"], self.split.task)
        known = {name: value for name, value in training.items() if value != CUSTOM}
        TrainingSettings.of({**known, "seed": self.seed})

    @classmethod
    def of(cls, target: str, *, seed: int = 0, **arguments: Any) -> Self:
        """Make options from the arguments of `sl.fit`: names of no group are training settings.

        Raises:
            OptionError: An unknown name, or an invalid value.
        """
        if not isinstance(target, str):
            raise OptionError(
                f"target is a {type(target).__name__}; it is the name of a column of the table.",
                "Put the target into the table and give its name; arrays X and y are for SightlineClassifier and SightlineRegressor.",
            )
        known = [*declared(), "seed"]
        for name in arguments:
            if name not in known:
                raise no_option(name, ["target", *known])
        groups = {
            name: {key: arguments.pop(key) for key in _names(kind) if key in arguments}
            for name, kind in GROUPS.items()
        }  # fmt: skip
        options: dict[str, Any] = {name: GROUPS[name](**values) for name, values in groups.items()}
        return cls(target=target, training=arguments, seed=seed, **options)  # type: ignore[arg-type]

    def settings(self, chosen: Mapping[str, Any] | None = None) -> TrainingSettings:
        """Return all settings of the training: those chosen by the quality, then those given."""
        return TrainingSettings.of({**(chosen or {}), **self.training, "seed": self.seed})

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; what JSON cannot hold becomes `CUSTOM`."""
        groups = {name: _group_to_json(getattr(self, name)) for name in GROUPS}
        training = training_to_json(self.training)
        return {
            "version": OPTIONS_VERSION, "target": self.target, **groups, "training": training, "seed": self.seed
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            RunError: A newer Sightline wrote it, or it is damaged.
        """
        if data.get("version") != OPTIONS_VERSION:
            raise RunError(
                f"The options of the fit have version {data.get('version')!r}; this Sightline reads "
                f"version {OPTIONS_VERSION}.",
                "Install a newer Sightline (pip install --upgrade sightline).",
            )
        try:
            groups: dict[str, Any] = {name: kind(**data[name]) for name, kind in GROUPS.items()}
            training: Any = training_from_json(data["training"])
            return cls(target=data["target"], seed=data["seed"], training=training, **groups)
        except (KeyError, TypeError) as error:
            raise RunError(
                f"The options of the fit are damaged: {type(error).__name__}: {error}.",
                "Restore the file, or fit again.",
            ) from error

    @classmethod
    def of_older(cls, kept: Mapping[str, Any]) -> Self:
        """Read the options from a checkpoint of Sightline 0.1, which has no JSON form of them.

        Args:
            kept: With `origin` (read and split options), `numeric`, `settings`, `report`, `recipe` and `baselines`;
                the oldest lack the last three.
        """
        origin, settings = kept["origin"], training_from_json(kept["settings"])
        recipe = kept.get("recipe", {})
        split = {
            name: origin["split"][name] for name in _names(SplitOptions) if name in origin["split"]
        }
        model = {
            name: recipe[name]
            for name in ("quality", "trees", "calibrate", "threshold")
            if name in recipe
        }
        training: Any = {name: value for name, value in settings.items() if name != "seed"}
        return cls(
            target=origin["split"]["target"], read=ReadOptions(**origin["read"]),
            split=SplitOptions(**split), training=training, seed=settings["seed"],
            model=ModelOptions(
                numeric=kept["numeric"], baselines=kept.get("baselines", False), **model
            ),
            run=RunOptions(report=kept.get("report", True)),
        )  # fmt: skip


GROUPS: dict[str, type[Any]] = {
    "read": ReadOptions, "split": SplitOptions, "model": ModelOptions, "run": RunOptions,
}  # fmt: skip


@dataclass(frozen=True)
class Declared:
    """One declared option: its field and its `Option`.

    Attributes:
        name: The argument's name.
        group: "read", "split", "model", "training" or "run".
        type: Its type, resolved.
        default: Its default.
        option: Its help text and command-line form.

    Example:
        >>> from sightline.contracts.request import declared
        >>> epochs = declared()["epochs"]
        >>> epochs.group, epochs.type, epochs.default
        ('training', <class 'int'>, 100)
    """

    name: str
    group: str
    type: Any
    default: Any
    option: Option

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values that a `Literal` in the type allows; empty where there is none.

        Example:
            >>> from sightline.contracts.request import declared
            >>> declared()["quality"].choices, declared()["epochs"].choices
            (('fast', 'default', 'best'), ())
        """
        literals = [part for part in self._parts if get_origin(part) is Literal]
        return tuple(value for part in literals for value in get_args(part))

    @property
    def plain_types(self) -> tuple[Any, ...]:
        """The types that a value may have besides `None` and the choices.

        Example:
            >>> from sightline.contracts.request import declared
            >>> declared()["threshold"].plain_types, declared()["time_limit"].plain_types
            ((<class 'float'>,), (<class 'float'>,))
        """
        return tuple(p for p in self._parts if p is not NoneType and get_origin(p) is not Literal)

    @property
    def _parts(self) -> tuple[Any, ...]:
        """The members of a union; the type itself where it is none."""
        union = get_origin(self.type) in (Union, UnionType)
        return get_args(self.type) if union else (self.type,)


@functools.cache
def declared() -> Mapping[str, Declared]:
    """Return every option by its name, in the order of the stages.

    Example:
        >>> from sightline.contracts.request import declared
        >>> list(declared())[:3]
        ['kinds', 'drop', 'missing']
    """
    groups = {**{k: GROUPS[k] for k in ("read", "split", "model")}, "training": TrainingSettings, "run": RunOptions}  # fmt: skip
    return {item.name: item for group, kind in groups.items() for item in _declared(group, kind)}


def _declared(group: str, kind: type[Any]) -> Iterator[Declared]:
    types = get_type_hints(kind, include_extras=True)
    for item in dataclasses.fields(kind):
        factory = item.default_factory
        default = item.default if factory is dataclasses.MISSING else factory()
        plain, option = get_args(types[item.name])
        yield Declared(item.name, group, plain, default, option)


def _names(kind: type[Any]) -> list[str]:
    return [item.name for item in dataclasses.fields(kind)]


def _group_to_json(group: Any) -> dict[str, Any]:
    return {
        item.name: _plain(getattr(group, item.name), table=item.option.form == "rows")
        for item in _declared("", type(group))
    }


def _plain(value: Any, table: bool = False) -> Any:
    """Return a value as JSON, or `CUSTOM` for an object in memory, such as a `table` of rows."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Ray):
        return value.to_json()
    if isinstance(value, Mapping) and not table:
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list) and not table:
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float) else CUSTOM
