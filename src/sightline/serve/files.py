"""Which model files are served, under which name and version, and what was in them when they were read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.errors import BundleError, OptionError
from sightline.predict.described import BUNDLE

ENDINGS = (".sightline", ".onnx")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class ModelFile:
    """A model's file and its bytes.

    Every process gets the same bytes, and a process that is started anew gets them again, whatever has become of the
    file.

    Attributes:
        name: Under which the model is served.
        version: Its version, or None.
        path: Where the file is, for messages.
        content: The file's bytes.
    """

    name: str
    version: str | None
    path: str
    content: bytes

    @property
    def sha256(self) -> str:
        """The digest of the bytes."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Place:
    """Where a model is: name, version, path, and what tells whether the file has changed."""

    name: str
    version: str | None
    path: Path
    stamp: tuple[int, int, int]

    def read(self) -> ModelFile:
        """Read the file.

        Raises:
            BundleError: It cannot be read.
        """
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise BundleError(
                f"{self.path} cannot be read: {error.strerror or error}.",
                "Give the path of a .sightline or .onnx file.",
            ) from error
        return ModelFile(self.name, self.version, str(self.path), content)


def given(models: Sequence[str]) -> list[Place]:
    """Find models by their paths: files or run folders, each alone or as NAME=PATH.

    Returns:
        Their places. Without a NAME, a model is named as its file without the ending, or as its run folder.

    Raises:
        BundleError: A path does not exist, or is no model.
        OptionError: A name is not valid, or given twice.

    Example:
        >>> import sightline as sl
        >>> from sightline.serve.files import given
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> run.model.save("penguins.sightline")
        >>> [place.name for place in given(["penguins.sightline", "copy=penguins.sightline"])]
        ['penguins', 'copy']
    """
    places = []
    for text in models:
        name, sign, after = text.partition("=")
        named = bool(sign) and not Path(text).exists()
        path = Path(after if named else text)
        if path.is_dir():
            stem = path.resolve().name
            path = path / BUNDLE
        else:
            stem = path.stem
        if not path.is_file():
            raise BundleError(
                f"{path} does not exist.",
                "Give the path of a .sightline or .onnx file, or of a run folder.",
            )
        places.append(_place(name if named else stem, None, path))
    _refuse_twice(places)
    return places


def watched(folder: Path) -> list[Place]:
    """Find the models of a folder: NAME.sightline or .onnx, and NAME/VERSION.sightline or .onnx.

    Of several versions the highest is served: 10 is higher than 9, and any number higher than a text.

    Raises:
        OptionError: The folder does not exist, or a model has two files.
    """
    if not folder.is_dir():
        raise OptionError(f"{folder} is no folder.", "Give a folder of models to --watch.")
    found: list[Place] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            versions = [
                inner for inner in path.iterdir()
                if inner.suffix in ENDINGS and inner.is_file() and not inner.name.startswith(".")
            ]  # fmt: skip
            if versions:
                newest = max(versions, key=lambda inner: (_order(inner.stem), inner.suffix))
                found.append(_place(path.name, newest.stem, newest))
        elif path.suffix in ENDINGS:
            found.append(_place(path.stem, None, path))
    _refuse_twice(found)
    return found


def _place(name: str, version: str | None, path: Path) -> Place:
    for what, text in (("name", name), ("version", version)):
        if text is not None and not NAME.fullmatch(text):
            raise OptionError(
                f"{path}: {text!r} cannot be the {what} of a served model.",
                "Use letters, digits, _, . and -, or give a name: NAME=PATH.",
            )
    try:
        status = path.stat()
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read: {error.strerror or error}.", "Give another file."
        ) from error
    return Place(name, version, path, (status.st_mtime_ns, status.st_size, status.st_ino))


def _order(version: str) -> tuple[tuple[bool, int, str], ...]:
    """Order versions as people do: by their numbers, part by part."""
    parts = re.findall(r"\d+|\D+", version)
    return tuple((part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts)


def _refuse_twice(places: Iterable[Place]) -> None:
    seen: dict[str, Path] = {}
    for place in places:
        if place.name in seen:
            raise OptionError(
                f"{seen[place.name]} and {place.path} would both be served as {place.name!r}.",
                "Give one of them another name (NAME=PATH), or move it.",
            )
        seen[place.name] = place.path
