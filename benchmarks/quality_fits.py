"""What names one fit of `benchmarks.quality`, and the file that keeps it.

A fit is known by its system, version, table, seed, budget and processor. Its file is
`quality/TABLE/SYSTEM[@BUDGET]_VERSION_sSEED_PROCESSOR.json`; the file also contains these names.

The version of ours is sightline's, the newest commit of its files, and "+changes" with four digits of
a digest if they differ from that commit: 0.1.0-fe67c67, 0.1.0-fe67c67+changes.09ab. Commits that leave
the package as it is do not make a new version.

This module imports nothing large: a fit's peak memory starts at that of the process that starts it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

Fit = dict[str, Any]

OURS = ("ours", "ours-fast", "ours-best", "ours-network")
TREES = ("lightgbm", "xgboost", "catboost", "hgb")
AUTOGLUON = {"autogluon-medium": "medium_quality", "autogluon-best": "best_quality"}
DISTRIBUTIONS = {
    **dict.fromkeys(OURS, "sightline"),
    "lightgbm": "lightgbm", "xgboost": "xgboost", "catboost": "catboost", "hgb": "scikit-learn",
    "mlp": "scikit-learn", "realmlp-td-s": "pytabkit", "realmlp-td": "pytabkit", "tabm-d": "pytabkit",
    **dict.fromkeys(AUTOGLUON, "autogluon.tabular"),
}  # fmt: skip

DEVELOPMENT = 100  # seeds from here on are development splits
FIGURES_SEEDS = 3  # development split k is cut from the training rows of the figures' split k % 3


class System(NamedTuple):
    """A system, and its time limit for fitting in seconds, if it has one."""

    name: str
    budget: int | None = None

    def __str__(self) -> str:
        return self.name if self.budget is None else f"{self.name}@{self.budget}"

    @classmethod
    def of(cls, text: str) -> System:
        """Read NAME or NAME@SECONDS."""
        name, at, seconds = text.partition("@")
        if name not in DISTRIBUTIONS:
            raise ValueError(f"There is no system {name!r}; there are {', '.join(DISTRIBUTIONS)}.")
        if not at:
            if name in AUTOGLUON:
                raise ValueError(f"{name} needs a time limit: write {name}@SECONDS.")
            return cls(name)
        if name not in (*OURS, *AUTOGLUON):
            raise ValueError(f"{name} has no option for a time limit: write {name} without @.")
        if not seconds.isdecimal() or int(seconds) == 0:
            raise ValueError(f"{text}: after the @ comes a whole number of seconds, 1 or more.")
        return cls(name, int(seconds))


class Key(NamedTuple):
    """All that distinguishes one fit from another."""

    system: System
    version: str
    table: str
    seed: int
    processor: str

    def path(self, folder: Path) -> Path:
        """Return the file of this fit, below the folder of results."""
        name = f"{self.system}_{self.version}_s{self.seed}_{self.processor}.json"
        return folder / "quality" / self.table / re.sub(r"[^\w.+@-]+", "-", name)

    def fields(self) -> Fit:
        return {
            "system": self.system.name, "budget": self.system.budget, "version": self.version,
            "table": self.table, "seed": self.seed, "processor": self.processor,
        }  # fmt: skip


def label(fit: Fit) -> str:
    """Return the system of a stored fit as the command line writes it."""
    return str(System(fit["system"], fit["budget"]))


def slug(processor: str) -> str:
    """Shorten a processor's name: "Intel(R) Xeon(R) CPU @ 2.20GHz" is "intel-xeon"."""
    text = re.sub(r"\((r|tm)\)|@.*|\b(cpu|processor|\d+-core)\b", " ", processor.lower())
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-") or "unknown"


def seeds_of(text: str) -> list[int]:
    """Read seeds such as "0-2" or "0,3,5-7"; figures' and development splits are never mixed."""
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not found or int(found[2] or found[1]) < int(found[1]):
            raise ValueError(f"{text!r} are no seeds: write for example 0-2, or 100-104, or 0,3,5.")
        seeds += range(int(found[1]), int(found[2] or found[1]) + 1)
    if len({seed >= DEVELOPMENT for seed in seeds}) > 1:
        raise ValueError(
            f"{text!r} mixes the figures' splits (below {DEVELOPMENT}) with development splits "
            f"({DEVELOPMENT} and more): measure and summarise them apart."
        )
    return sorted(set(seeds))


# ------------------------------------------------------------------------------- the files


def stored(folder: Path) -> Iterator[Fit]:
    """Read every fit that has a file."""
    for path in sorted((folder / "quality").glob("*/*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


def measured(path: Path, source: Mapping[str, Any]) -> bool:
    """Say whether a fit has a file that counts: it did not fail, and its table is the same."""
    if not path.exists():
        return False
    fit = json.loads(path.read_text(encoding="utf-8"))
    if fit["source"] != source:
        raise ValueError(
            f"{path} was measured on another table of this name, target or categories. "
            "Rename the table's file, or give another --folder."
        )
    return "failed" not in fit


def write(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


# ---------------------------------------------------------------------------- the versions


def version_of(system: System, autogluon_python: str | None) -> dict[str, str]:
    """Return a system's version; for ours its commit's date too."""
    distribution = DISTRIBUTIONS[system.name]
    if system.name in AUTOGLUON:
        if autogluon_python is None:
            raise ValueError(
                f"{system}: give --autogluon-python PATH, the interpreter of an environment made with "
                "benchmarks/autogluon-requirements.txt."
            )
        ask = f"from importlib.metadata import version; print(version({distribution!r}))"
        try:
            done = subprocess.run([autogluon_python, "-c", ask], capture_output=True, text=True)
        except OSError as error:
            raise ValueError(f"--autogluon-python {autogluon_python}: {error.strerror}.") from None
        if done.returncode:
            raise ValueError(f"{autogluon_python} has no {distribution} installed.")
        return {"version": done.stdout.strip()}
    try:
        number = version(distribution)
    except PackageNotFoundError:
        raise ValueError(
            f"{system}: {distribution} is not installed. Install benchmarks/quality-requirements.txt, "
            "or leave the system out by --systems."
        ) from None
    if system.name not in OURS:
        return {"version": number}
    spec = importlib.util.find_spec("sightline")
    assert spec is not None
    assert spec.origin is not None
    return our_version(number, Path(spec.origin).parent)


def our_version(number: str, package: Path) -> dict[str, str]:
    """Add the newest commit of a package's files to its version number, and whether they were changed since."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(package), *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    commit, _, date = git("log", "-1", "--format=%h %cI", "--abbrev=7", "--", ".").partition(" ")
    if not commit:  # not in a repository
        return {"version": number}
    changes = ""
    if git("status", "--porcelain", "--", "."):
        digest = hashlib.sha256()
        for path in sorted(package.rglob("*.py")):
            digest.update(path.read_bytes())
        changes = f"+changes.{digest.hexdigest()[:4]}"
    return {"version": f"{number}-{commit}{changes}", "commit_date": date}
