"""Run a page's blocks one after another, as a reader would.

One process, one namespace and one folder for a whole page: what a block makes is there for the next.
The lines that only call `sightline` are run in it too; those with a pipe, another program or anything
else that takes a shell are given to bash.

`python tests/blocks.py` imports PyTorch once, and forks the process of each page: it reads a page's
folder from each line of standard input, and answers with the exit code. What the page writes to
standard error goes to ERRORS in its folder.

BLOCKS.json in that folder is a list of [language, code]. What each printed is written to PRINTED.json beside it, as
far as it came; a failure ends the process with a traceback that names the block.
"""

import contextlib
import io
import json
import os
import shlex
import subprocess
import sys
import traceback
import types
import warnings
from pathlib import Path

import torch  # noqa: F401 - imported once, before the pages

import sightline
from sightline.cli.main import main as command_line

sightline.fit  # noqa: B018 - imports what nearly every page needs


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


def serve() -> None:
    for line in sys.stdin:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 warns of threads, which are idle here
            child = os.fork()
        if not child:
            code = 1
            try:
                os.chdir(line.rstrip("\n"))
                os.dup2(os.open("errors", os.O_WRONLY | os.O_CREAT), 2)
                os.dup2(2, 1)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                main(Path("blocks.json"))
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            except BaseException:  # noqa: BLE001 - as Python itself ends
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
