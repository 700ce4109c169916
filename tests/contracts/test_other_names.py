"""Names of other tools: each leads to an option, argument, command or function that exists."""

import click
import pytest

import sightline as sl
from sightline.cli.main import cli
from sightline.contracts.other_names import (
    ARGUMENTS,
    COMMANDS,
    ELSEWHERE,
    OPTIONS,
    VALUES,
    ours,
    plain_name,
)
from sightline.contracts.request import declared


def names_of(command: click.Command) -> set[str]:
    given = command.get_params(click.Context(command, help_option_names=["-h", "--help"]))
    return {one.name for one in given if one.name is not None}


EVERY = {name: names_of(command) for name, command in cli.commands.items()}


def test_each_name_of_ours_is_an_option_somewhere() -> None:
    python = {*declared(), "folds", "random_state"}
    assert set(OPTIONS) <= python.union(*EVERY.values())
    assert set(ARGUMENTS) <= set().union(*EVERY.values())


def test_each_command_exists() -> None:
    assert set(COMMANDS) <= {*cli.commands, *sl.__all__}
    for theirs in COMMANDS.values():
        assert not set(theirs) & set(cli.commands)


@pytest.mark.parametrize("own", OPTIONS)
def test_each_name_of_another_tool_is_unknown_where_it_is_needed(own: str) -> None:
    having = [names for names in EVERY.values() if own in names]
    for theirs in OPTIONS[own]:
        assert theirs == plain_name(theirs)
        assert not having or any(theirs not in names for names in having), theirs
    assert len(set(OPTIONS[own])) == len(OPTIONS[own])


def test_what_has_no_option_here_is_no_option_of_a_command() -> None:
    for name in ELSEWHERE:
        assert name not in declared()


def test_a_switch_of_another_tool_is_a_value_of_one_option() -> None:
    for name in VALUES:
        assert len(ours(name, declared())) == 1
