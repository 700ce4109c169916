"""Run a page's blocks one after another, as a reader would: `python tests/blocks.py BLOCKS.json`.

One process, one namespace and one folder for a whole page: what a block makes is there for the next,
and PyTorch is imported once, for the lines that only call `sightline` as well: those with a pipe,
another program or anything else that takes a shell are given to bash.

BLOCKS.json is a list of [language, code]. What each printed is written to PRINTED.json beside it, as
far as it came; a failure ends the process with a traceback that names the block.
"""

import contextlib
import io
import json
import shlex
import subprocess
import sys
import types
from pathlib import Path

from sightline.cli.main import main as command_line


def main(path: Path) -> None:
    namespace = types.ModuleType("__main__")  # as in `python -c`: it has no file
    sys.modules["__main__"] = namespace
    printed: list[str] = []
    for number, (language, code) in enumerate(json.loads(path.read_text(encoding="utf-8"))):
        sys.stderr.write(f"block {number} ({language})\n")
        printed.append(python(code, number, namespace) if language == "python" else shell(code))
        path.with_name("printed.json").write_text(json.dumps(printed), encoding="utf-8")


def python(code: str, number: int, namespace: types.ModuleType) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, f"<block {number}>", "exec"), vars(namespace))
    return out.getvalue()


def shell(code: str) -> str:
    lines = [line for line in code.splitlines() if line and not line.startswith("#")]
    if all(line.startswith("sightline ") and not set(line) & set("|&;<>$`\\") for line in lines):
        return "".join(command(line) for line in lines)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def command(line: str) -> str:
    sys.argv = shlex.split(line, comments=True)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        command_line()  # leaves with SystemExit where the command line would
    return out.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
