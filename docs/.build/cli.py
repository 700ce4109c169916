"""Writes docs/reference/cli.md from what `--help` prints: `python docs/.build/cli.py`."""

from pathlib import Path

import click

from sightline.cli.main import cli

OPENING = """\
# Command line

Every command is a thin layer over the [API](api.md) and works on files. `--json` prints one JSON object
on standard output for scripts; the exit code is 0 on success, 2 for an error that you can fix (the
message says how), 1 if a replay gives other weights or for a bug in Sightline.
"""
WIDTH = 100


def page() -> str:
    """Return the page, a section for each command."""
    parts = [OPENING, _section("sightline", cli, None)]
    above = click.Context(cli, info_name="sightline")
    for name in cli.list_commands(above):
        command = cli.get_command(above, name)
        assert command is not None
        if not command.hidden:
            parts.append(_section(f"sightline {name}", command, above))
    return "\n".join(parts)


def _section(title: str, command: click.Command, above: click.Context | None) -> str:
    context = click.Context(
        command, info_name=title.split()[-1], parent=above, terminal_width=WIDTH,
        max_content_width=WIDTH, help_option_names=["-h", "--help"],
    )  # fmt: skip
    return f"## {title}\n\n```text\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    path = Path(__file__).parent.parent / "reference" / "cli.md"
    path.write_text(page(), encoding="utf-8")
