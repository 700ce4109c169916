"""Files in an object store (S3, Google Cloud Storage, Azure), copied once, checked, and read as files.

pyarrow's own file systems read them. They find credentials where the tools of each store do, and repeat a request that fails.
"""

from __future__ import annotations

import fnmatch
import glob
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard
from urllib.parse import parse_qsl, quote, unquote, urlencode

import pyarrow as pa

from sightline.contracts.options import OBJECT_STORES
from sightline.errors import DataError, OptionError, UserError, counted, readable
from sightline.load.databases import hide, refuse_without_space
from sightline.load.formats import is_table
from sightline.load.raw import Raw

PLAIN_OPTIONS = (
    "region", "endpoint_override", "scheme", "retry_limit_seconds", "blob_storage_authority", "dfs_storage_authority",
    "enable_tls",
)  # fmt: skip
"""Options of an address that hold no secret; the others are written nowhere."""
BLOCK_BYTES = 8 << 20
AT_ONCE = 8
"""Files that are copied side by side."""
RETRY_SECONDS = 60
"""Of Google Cloud Storage, whose default is 15 minutes; S3 is asked again for about 10 seconds."""
STATE = ("etag", "generation", "last-modified", "content-length")
"""What tells one state of an object from the next, where a store gives it."""
FIXES = {
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|FORBIDDEN|\b40[13]\b|[Cc]redential": "Check the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the usual place of the store), and that they may list and read there.",
    r"NO_SUCH_BUCKET|NO_SUCH_KEY|not found|\b404\b": "Check the bucket and the path.",
    r"": "Check that the store can be reached, its region and its endpoint (?region=, ?endpoint_override=HOST:PORT, AWS_ENDPOINT_URL), and try again.",
}  # fmt: skip
"""What to do, by what a store's message holds; the first one counts."""


@dataclass(frozen=True)
class Stored:
    """A file, a folder or a pattern in an object store, a source of a table like those on the disk.

    Attributes:
        address: "s3://bucket/file.parquet", "gs://bucket/folder" or "abfs://container@account.dfs.core.windows.net/*.csv",
            with options of pyarrow behind a question mark: "?region=eu-west-1", "?endpoint_override=host:9000&scheme=http".
            Credentials in it (s3://KEY:SECRET@bucket/file) appear in no record, error or model.

    Raises:
        OptionError: The address cannot be read.

    Example:
        >>> from sightline.load.object_stores import Stored
        >>> Stored("s3://key:secret@bucket/sales/*.csv?region=eu-west-1")
        Stored('s3://bucket/sales/*.csv')
    """

    address: str = field(repr=False)

    def __post_init__(self) -> None:
        scheme, place, path, _ = self._parts
        host, colon, port = place.rpartition("@")[2].partition(":")
        secret_cut = colon and (not port.isdigit() or "@" in path)  # by a / in it
        if place.count("@") > 1 or secret_cut or not (host or scheme.startswith("abfs")):
            raise OptionError(
                "The address of the object store cannot be read.",
                "Write it as s3://bucket/path, with %2F for /, %3A for : and %40 for @ in a secret, or leave the secret to "
                "AWS_SECRET_ACCESS_KEY.",
            )

    @property
    def _parts(self) -> tuple[str, str, str, list[tuple[str, str]]]:
        """The scheme, what stands before the path, the path, the options."""
        scheme, _, rest = self.address.partition("://")
        rest, _, options = rest.partition("?")
        place, _, path = rest.partition("/")
        return scheme.lower(), place, path.strip("/"), parse_qsl(options, keep_blank_values=True)

    @property
    def _secrets(self) -> list[str]:
        scheme, place, _, options = self._parts
        user = place.rpartition("@")[0].split(":")
        if scheme != "s3":  # an Azure account or container, which is no secret
            user = user[1:]
        return [*filter(None, user), *(value for key, value in options if not _plain(key, value))]

    @property
    def name(self) -> str:
        """The address without credentials and options, for records and errors."""
        scheme, place, path, _ = self._parts
        user, _, host = place.rpartition("@")
        user = "" if scheme == "s3" else user.partition(":")[0]
        return f"{scheme}://{user + '@' if user else ''}{host}{'/' if path else ''}{path}"

    @property
    def again(self) -> str:
        """The address without credentials, by which the files are found again."""
        options = [(key, value) for key, value in self._parts[3] if _plain(key, value)]
        return self.name + (f"?{urlencode(options, safe=':/')}" if options else "")

    @property
    def has_secret(self) -> bool:
        """Whether the address holds credentials."""
        return bool(self._secrets)

    @property
    def stem(self) -> str:
        """The name of the file, folder or bucket, for folders."""
        return PurePosixPath(self.name.partition("://")[2]).name.split(".")[0]

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Stored({self.name!r})"

    def open(self) -> tuple[Any, str]:
        """Return pyarrow's file system, and the path in it.

        Raises:
            OptionError: An option behind the question mark does not exist.
            DataError: The store cannot be reached.
        """
        from pyarrow import fs

        scheme, place, path, options = self._parts
        if scheme == "gs" and "retry_limit_seconds" not in dict(options):
            options = [*options, ("retry_limit_seconds", str(RETRY_SECONDS))]
        # The path is meant as it is written, also with blanks and per cent signs.
        address = f"{scheme}://{place}/{quote(path)}{'?' if options else ''}{urlencode(options)}"
        with self.translated(self.name):
            try:
                return fs.FileSystem.from_uri(address)  # type: ignore[no-any-return]
            except pa.ArrowInvalid as error:
                raise OptionError(
                    f"{self.name}: {self._hidden(error)}",
                    "Write it as s3://bucket/path?region=NAME, gs://bucket/path or abfs://container@account.dfs.core.windows.net/path.",
                ) from None

    def files(self) -> Listing:
        """List the files that the address names: itself, the tables of a folder, or what matches a pattern.

        Raises:
            DataError: There is none, or the store refuses or cannot be reached.
            OptionError: As `open`.
        """
        from pyarrow import fs

        store, path = self.open()
        parts = path.split("/")
        fixed = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts))
        base, pattern = "/".join(parts[:fixed]), parts[fixed:]
        with self.translated(self.name):
            if pattern:
                found = store.get_file_info(fs.FileSelector(base, recursive=len(pattern) > 1))
                found = [one for one in found if _matches(one.path.split("/")[fixed:], pattern)]
                problem = f"No file matches {self.name}.", "Check the pattern."
            else:
                found = [store.get_file_info(path)]
                problem = f"{self.name} does not exist.", "Check the bucket and the path."
                if found[0].type == fs.FileType.Directory:
                    found = store.get_file_info(fs.FileSelector(path))
                    found = [one for one in found if is_table(PurePosixPath(one.path))]
                    problem = (
                        f"{self.name} is a folder with no CSV, TSV, Parquet, JSON or Arrow file in it.",
                        "Give a file, or a folder that holds such files.",
                    )
        root = self.name.removesuffix("/".join(pattern)).rstrip("/")
        files = {
            f"{root}{one.path.removeprefix(base)}": one
            for one in sorted(found, key=lambda one: one.path)
            if one.type == fs.FileType.File
        }
        if not files:
            raise DataError(*problem)
        return Listing(self, store, files)

    def each(self) -> list[Stored]:
        """Return the address of each file, with the credentials and options of this one.

        Raises:
            DataError, OptionError: As `files`.
        """
        scheme, place, _, _ = self._parts
        options = self.address.partition("?")[2]
        paths = [name.partition("://")[2].partition("/")[2] for name in self.files().files]
        return [Stored(f"{scheme}://{place}/{path}?{options}".rstrip("?")) for path in paths]

    @contextmanager
    def translated(self, name: str) -> Iterator[None]:
        """Turn what a file system raises into our error, without credentials.

        Args:
            name: What is being read.
        """
        try:
            yield
        except FileNotFoundError:
            raise DataError(f"{name} does not exist.", "Check the bucket and the path.") from None
        except (OSError, pa.ArrowException) as error:
            message = self._hidden(error)
            fix = next(fix for sign, fix in FIXES.items() if re.search(sign, message))
            raise DataError(f"{name} cannot be read: {message}", fix) from None

    def _hidden(self, error: Exception) -> str:
        return hide(str(error), [*self._secrets, *map(unquote, self._secrets), self.address])


def is_stored(source: Any) -> TypeGuard[str]:
    """Tell whether a source is an address in an object store.

    Example:
        >>> from sightline.load.object_stores import is_stored
        >>> is_stored("s3://bucket/penguins.csv"), is_stored("penguins.csv")
        (True, False)
    """
    return isinstance(source, str) and source.partition("://")[0].lower() in OBJECT_STORES


def _plain(option: str, value: str) -> bool:
    return option in PLAIN_OPTIONS and "@" not in value


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Tell whether a path matches a pattern, part by part as in `glob`; ** stands for any number of parts."""
    if not pattern or not parts:
        return not pattern and not parts
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or _matches(parts[1:], pattern)
    if parts[0].startswith(".") or not fnmatch.fnmatchcase(parts[0], pattern[0]):
        return False
    return _matches(parts[1:], pattern[1:])


# ------------------------------------------------------------- copies


@dataclass(frozen=True)
class Copied:
    """Files of an object store that were copied; errors and tables name the object, not the copy.

    Attributes:
        name: What was copied.
        folder: Where the copies are.
        origins: By path of the copy, the address of each.
        held: The folder, if it is a temporary one: it is removed when nothing holds it any more.
    """

    name: str
    folder: Path
    origins: Mapping[str, str]
    held: object = None

    @property
    def source(self) -> str:
        """The path of the copy, or a pattern of several."""
        return next(iter(self.origins)) if len(self.origins) == 1 else f"{glob.escape(str(self.folder))}/*/*"  # fmt: skip

    def moved(self, folder: Path) -> Copied:
        """Return the copies as they are when their folder has another path."""
        origins = {str(folder / Path(path).relative_to(self.folder)): name for path, name in self.origins.items()}  # fmt: skip
        return replace(self, folder=folder, origins=origins)

    def named(self, raw: Raw) -> Raw:
        """Return raw columns that were read from the copies, with the names of the objects."""

        def locate(row: int, column: str) -> tuple[str, str | None]:
            place, cell = raw.locate(row, column)
            return self._named(place), cell

        return replace(raw, name=self._named(raw.name), locate=locate)

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Let errors about the copies name the objects."""
        try:
            yield
        except UserError as error:
            raise type(error)(self._named(error.problem), error.fix) from None

    def _named(self, text: str) -> str:
        for path, name in {self.source: self.name, **self.origins}.items():
            text = text.replace(path, name)
        return text


class _Temporary:
    """A folder that is removed when this object is."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="sightline-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True)
class Listing:
    """Files in an object store that were listed.

    Attributes:
        stored: What was listed.
        store: pyarrow's file system.
        files: By address, path and size of each.
    """

    stored: Stored
    store: Any
    files: Mapping[str, Any]

    def __str__(self) -> str:
        size = readable(max(self.size / 1e6, 0.1), 2)
        return f"{counted(len(self.files), 'file')}, {size} MB"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(one.size for one in self.files.values())

    def each(self) -> Iterator[Listing]:
        """Yield each file alone."""
        for name, one in self.files.items():
            yield replace(self, files={name: one})

    def copy(self, folder: Path | None = None) -> Copied:
        """Copy the files, some side by side.

        Args:
            folder: Where to; None makes a temporary folder, which lives as long as the copy is used.

        Raises:
            DataError: A file cannot be read or changed meanwhile, or there is not enough space on the disk.
        """
        held = None
        if folder is None:
            held = _Temporary()
            folder = held.path
        # A folder for each keeps its name, whatever the others are called, and their order.
        paths = [
            folder / f"{n:06d}" / PurePosixPath(name).name for n, name in enumerate(self.files)
        ]
        folder.mkdir(parents=True, exist_ok=True)
        refuse_without_space(self.stored.name, folder, self.size)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(self._copy_one, self.files, paths))
        origins = dict(zip(map(str, paths), self.files, strict=True))
        name = next(iter(self.files)) if len(paths) == 1 else self.stored.name
        return Copied(name, folder, origins, held)

    def _copy_one(self, name: str, path: Path) -> None:
        where, size = self.files[name].path, 0
        path.parent.mkdir()
        with self.stored.translated(name):
            stream = self.store.open_input_stream(where)
        with stream, path.open("wb") as file:
            while True:
                with self.stored.translated(name):
                    block = stream.read(BLOCK_BYTES)
                if not block:
                    break
                size += file.write(block)
            before = stream.metadata()
        with self.stored.translated(name), self.store.open_input_file(where) as again:
            after = again.metadata()
        if size != self.files[name].size or _state(before) != _state(after):
            raise DataError(f"{name} changed while it was read.", "Try again when nothing writes to it.")  # fmt: skip


def _state(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (metadata or {}).items() if key.lower() in STATE}
