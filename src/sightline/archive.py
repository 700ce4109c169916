"""Named tensors and JSON in one file, written atomically; knows nothing of models.

The file is a zip whose members are stored uncompressed. `manifest.json` names the kind of archive,
its format version and the sha256 of every other member. `*.safetensors` members hold tensors,
`*.json` members hold JSON, and other members hold plain bytes. Nothing is pickled, so opening a
file runs no code.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sightline.errors import BundleError

if TYPE_CHECKING:
    import torch

VERSIONS = {"model": 7, "checkpoint": 4}
"""Per kind of archive, the format version that is written; every earlier one is read too.

The kinds are counted apart: a new version of checkpoints does not touch bundles.
"""


@dataclass(frozen=True)
class Archive:
    """What an archive holds, every member checked against its sha256.

    Attributes:
        manifest: The JSON given to `write`, with the format version and the checksums.
        json: The JSON members, by name without ".json".
        tensors: The tensor members, by name without ".safetensors": tensors by name.
        files: The bytes of every other member, by name.
    """

    manifest: Mapping[str, Any]
    json: Mapping[str, Any]
    tensors: Mapping[str, Mapping[str, torch.Tensor]]
    files: Mapping[str, bytes]


def write(
    path: str | Path | IO[bytes],
    kind: str,
    manifest: Mapping[str, Any],
    *,
    json_members: Mapping[str, Any],
    tensors: Mapping[str, Mapping[str, torch.Tensor]],
    files: Mapping[str, bytes] | None = None,
    allow_nan: bool = False,
) -> None:
    """Write an archive atomically: `path` holds either the old file or the complete new one.

    Args:
        path: The file to write; its folder must exist. Or a binary file that is open for writing, which is not
            written atomically.
        kind: What the archive holds, such as "model"; `read` checks it.
        manifest: JSON values for the manifest.
        json_members: JSON values by member name.
        tensors: Tensors by member name, then by their own name; copied to the CPU, contiguous.
        files: Bytes by member name.
        allow_nan: Write NaN and infinities, which JSON lacks, as Python's `json` does.

    Raises:
        OSError: The disk is full or the folder is not writable; no partial file is left behind.

    Example:
        >>> import torch, sightline.archive as archive
        >>> archive.write("a.zip", "demo", {"by": "me"}, json_members={"settings": {"x": 1}},
        ...               tensors={"weights": {"w": torch.ones(2)}})
        >>> archive.read("a.zip", "demo").tensors["weights"]["w"].tolist()
        [1.0, 1.0]
    """
    from safetensors.torch import save

    members: dict[str, bytes] = {}
    for name, values in json_members.items():
        members[f"{name}.json"] = _to_json(values, allow_nan)
    for name, named in tensors.items():
        plain = {key: value.detach().cpu().contiguous().clone() for key, value in named.items()}
        members[f"{name}.safetensors"] = save(plain)
    members.update(files or {})
    head = {
        **manifest,
        "format": "sightline",
        "format_version": version_of(kind),
        "kind": kind,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    }
    target = (
        atomic_file(Path(path)) if isinstance(path, str | Path) else contextlib.nullcontext(path)
    )
    with target as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as bundle:
        bundle.writestr(_member("manifest.json"), _to_json(head))
        for name, data in members.items():
            bundle.writestr(_member(name), data)


def version_of(kind: str) -> int:
    """Return the format version in which a kind of archive is written; 1 for a kind not listed.

    Example:
        >>> from sightline.archive import version_of
        >>> version_of("model"), version_of("demo")
        (7, 1)
    """
    return VERSIONS.get(kind, 1)


Source = str | Path | bytes | bytearray | memoryview | IO[bytes]
"""Where an archive is: a path, its bytes, or an open binary file."""


def named(source: Source) -> Path:
    """Return the path of an archive, or words in its place, for messages."""
    if isinstance(source, str | Path):
        return Path(source)
    name = getattr(source, "name", None)
    return Path(name if isinstance(name, str) else "(bytes in memory)")


def read(source: Source, kind: str) -> Archive:
    """Read an archive, checking every member.

    Args:
        source: A path, the bytes of an archive, or a binary file that is open for reading.
        kind: What the archive must hold.

    Raises:
        BundleError: The file does not exist, is damaged or truncated, belongs to another program,
            holds another kind of archive, or has a newer format version.
    """
    path = named(source)
    file = _opened(source, path)
    try:
        with zipfile.ZipFile(file) as bundle:
            names = bundle.namelist()
            if "manifest.json" not in names:
                raise _foreign(path, "it has no manifest")
            manifest = _manifest(path, bundle.read("manifest.json"), kind)
            return _members(path, bundle, names, manifest)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError) as error:
        # OSError: an altered offset seeks outside the file.
        file.seek(0)
        if file.read(4) == b"PK\x03\x04":
            raise _damaged(path, f"the file is cut off or altered ({error})") from error
        raise _foreign(path, "it is not an archive") from error
    finally:
        if file is not source:
            file.close()


def member(source: Source, kind: str, name: str) -> bytes | None:
    """Read one member of an archive and check it; None if there is none of that name. Needs no PyTorch.

    Raises:
        BundleError: As `read`, of this member.
    """
    path = named(source)
    file = _opened(source, path)
    try:
        with zipfile.ZipFile(file) as bundle:
            manifest = _manifest(path, bundle.read("manifest.json"), kind)
            if name not in manifest["sha256"]:
                return None
            return _checked(path, bundle, name, manifest["sha256"][name])
    except (
        zipfile.BadZipFile,
        EOFError,
        NotImplementedError,
        OSError,
        RuntimeError,
        KeyError,
    ) as error:
        raise _damaged(path, f"the file is cut off or altered ({error})") from error
    finally:
        if file is not source:
            file.close()


def _checked(path: Path, bundle: zipfile.ZipFile, name: str, expected: str) -> bytes:
    """Read a member that is stored as it is, and compare its checksum."""
    if bundle.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise _damaged(path, f"its member {name} is compressed")
    data = bundle.read(name)
    if hashlib.sha256(data).hexdigest() != expected:
        raise _damaged(path, f"its member {name} does not have the checksum written beside it")
    return data


def is_zip(source: Source) -> bool:
    """Tell by its first bytes whether a file may be an archive.

    Raises:
        BundleError: It does not exist.
    """
    file = _opened(source, named(source))
    try:
        start = file.read(2)
        file.seek(0)
        return start == b"PK"
    finally:
        if file is not source:
            file.close()


def content(source: Source) -> bytes:
    """Return all bytes of a file, which need not be an archive.

    Raises:
        BundleError: It does not exist.
    """
    file = _opened(source, named(source))
    try:
        return file.read()
    finally:
        if file is not source:
            file.close()


def _opened(source: Source, path: Path) -> IO[bytes]:
    """Open an archive as a file in which zipfile can seek."""
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source)
    if isinstance(source, str | Path):
        if not path.is_file():
            what = "is a folder, not a file" if path.is_dir() else "does not exist"
            raise BundleError(f"{path} {what}.", "Give the path of a .sightline file.")
        return path.open("rb")
    if not hasattr(source, "read"):
        raise BundleError(
            f"A {type(source).__name__} is no file.", "Give a path, bytes, or an open binary file."
        )
    if hasattr(source, "seekable") and source.seekable():
        return source
    content = source.read()
    if not isinstance(content, bytes):
        raise BundleError("The file is open as text.", "Open it with mode 'rb'.")
    return io.BytesIO(content)


def _manifest(path: Path, data: bytes, kind: str) -> dict[str, Any]:
    try:
        manifest = json.loads(data)
    except ValueError as error:
        raise _damaged(path, "its manifest cannot be read") from error
    if not isinstance(manifest, dict) or manifest.get("format") != "sightline":
        raise _foreign(path, "its manifest was written by another program")
    if manifest.get("kind") != kind:
        raise BundleError(
            f"{path} holds a {manifest.get('kind')!r}, not a {kind!r}.",
            f"Give a file that holds a {kind}.",
        )
    version, newest = manifest.get("format_version"), version_of(kind)
    if not isinstance(version, int) or version > newest:
        raise BundleError(
            f"{path} is a {kind} of format version {version}; this Sightline reads versions up to {newest}.",
            "Install a newer Sightline (pip install --upgrade sightline).",
        )
    if not isinstance(manifest.get("sha256"), dict):
        raise _damaged(path, "its manifest lists no checksums")
    return manifest


def _members(
    path: Path, bundle: zipfile.ZipFile, names: list[str], manifest: dict[str, Any]
) -> Archive:
    from safetensors import SafetensorError
    from safetensors.torch import load

    sums: dict[str, str] = manifest["sha256"]
    if set(names) != {"manifest.json", *sums} or len(names) != len(set(names)):
        wrong = sorted(set(names) ^ {"manifest.json", *sums})
        raise _damaged(path, f"its members are not those of its manifest: {wrong}")
    parts: dict[str, Any] = {}
    tensors: dict[str, Mapping[str, torch.Tensor]] = {}
    files: dict[str, bytes] = {}
    for name, expected in sums.items():
        data = _checked(path, bundle, name, expected)
        try:
            if name.endswith(".safetensors"):
                tensors[name.removesuffix(".safetensors")] = load(data)
            elif name.endswith(".json"):
                parts[name.removesuffix(".json")] = json.loads(data)
            else:
                files[name] = data
        except (ValueError, SafetensorError) as error:
            raise _damaged(path, f"its member {name} cannot be read ({error})") from error
    return Archive(manifest, parts, tensors, files)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that gets its final name only once all of it is on the disk.

    If anything goes wrong, `path` is left as it was and the temporary file is removed.

    Example:
        >>> from pathlib import Path
        >>> from sightline.archive import atomic_file
        >>> with atomic_file(Path("new.txt")) as file:
        ...     _ = file.write(b"all or nothing")
        >>> Path("new.txt").read_text()
        'all or nothing'
    """
    try:
        handle, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp"
        )
    except OSError as error:  # report the requested name, not the temporary one
        error.filename = str(path)
        raise
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
        put_in_place(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def put_in_place(temporary: str | Path, path: Path) -> None:
    """Give a complete temporary file its final name, once all of it is on the disk."""
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(temporary, 0o666 & ~mask)  # mkstemp creates files that only their owner can read
    os.replace(temporary, path)
    with contextlib.suppress(PermissionError):  # Windows cannot open a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _to_json(values: Any, allow_nan: bool = False) -> bytes:
    return json.dumps(values, ensure_ascii=False, allow_nan=allow_nan, indent=1).encode()


def _member(name: str) -> zipfile.ZipInfo:
    # A fixed date: the same model saved twice is the same file, bit for bit.
    return zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))


def _damaged(path: Path, why: str) -> BundleError:
    return BundleError(f"{path} is damaged: {why}.", "Use another copy, or save the model again.")


def _foreign(path: Path, why: str) -> BundleError:
    return BundleError(
        f"{path} is not a Sightline file: {why}.",
        "Give a file that model.save() or `sightline fit` wrote.",
    )
