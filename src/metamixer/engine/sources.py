"""The inputs of a job: files, folders, lists, Parquet files of paths or contents, in object stores too."""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from pathlib import Path, PurePosixPath

import pyarrow
import pyarrow.parquet as parquet
from fsspec.implementations.local import LocalFileSystem

from ..errors import InputError, first_line, printable
from .folder import open_url

PATHS = ("path", "uri", "url", "file", "file_name", "image")
"""Columns of Parquet files that name an input."""

CONTENTS = ("bytes", "content", "image")
"""Columns that hold an input; Hugging Face's are structs of bytes and path."""

ARRAYS = "coord.npy"
"""What a folder holds that is one input, a cloud in arrays."""

ROWS = 64
"""Of a Parquet file with contents that are read at once."""

NOT_UTF8 = -1
"""In place of a row group: a file whose name no table can hold."""


@dataclass(frozen=True)
class Source:
    """An input, or a row group of a Parquet file that holds some.

    name: its absolute path or its URL; row_group: its number, None for an input that is a file itself.
    """

    name: str
    row_group: int | None = None

    @property
    def key(self) -> str:
        return self.name if self.row_group is None else f"{self.name}:{self.row_group}"


@dataclass(frozen=True)
class Given:
    """An input with its content, None where its name is that of a file."""

    name: str
    content: bytes | None = None


def absolute(name: str, place: str = "") -> str:
    """A path by which every process finds the file; a URL is one already.

    place: the folder that relative paths start from; default: the process's.
    """
    return name if "://" in name else os.path.abspath(os.path.join(place, name))


def find_sources(given: str, suffixes: Sequence[str], place: str = "") -> Iterator[Source]:
    """What a path or URL stands for, one after the other; raises InputError where there is nothing.

    given: a file; a folder, for the files below it that end in `suffixes` or .parquet; a text file that ends in .txt
    with a path or URL a line; a Parquet file. place: see `absolute`, of the paths in lists and tables.
    """
    if not _is_utf8(given):
        raise InputError(f"{printable(given)}: its name isn't UTF-8, expected one that is")
    filesystem, path = open_url(given)
    try:
        if not filesystem.exists(path):
            raise InputError(f"{given}: no such file or folder")
        if not filesystem.isdir(path):
            yield from _expanded(given, place)
            return
    except (OSError, ImportError) as error:
        raise InputError(f"{given}: can't be read ({first_line(error)})") from None
    known = (*suffixes, ".parquet")
    for folder, folders, names in filesystem.walk(path, detail=True, on_error=_refuse):
        for name in [name for name, about in folders.items() if about.get("islink")]:
            del folders[name]  # it may lead in a circle
        if ARRAYS in names and ".npy" in suffixes:
            folders.clear()
            yield Source(absolute(_as_given(given, path, folder)))
            continue
        for name in names:
            if name.lower().endswith(known):
                yield from _found(_as_given(given, path, f"{folder.rstrip('/')}/{name}"), place)


def read_source(source: Source, done: Container[str] = ()) -> Iterator[Given]:
    """The inputs of a source that aren't done; a row without a path of its own is named by its file and number."""
    if source.row_group == NOT_UTF8:
        raise InputError(f"{source.name}: its name isn't UTF-8, expected a file whose name is")
    if source.row_group is None:
        yield from (Given(name) for name in [source.name] if name not in done)
        return
    with opened_parquet(source.name) as file:
        contents, paths = _columns(file.schema_arrow, source.name)
        names = _row_names(file, source, paths)
        if all(name in done for name in names):
            return
        if not _is_bytes(file.schema_arrow.field(contents).type):
            contents = f"{contents}.bytes"
        batches = file.iter_batches(ROWS, row_groups=[source.row_group], columns=[contents])
        values = chain.from_iterable(map(_contents, batches))
        yield from (
            Given(name, content or b"") for name, content in zip(names, values, strict=True) if name not in done
        )


@contextmanager
def local_file(given: Given) -> Iterator[Path]:
    """A file on this machine with the input's content; raises InputError where that can't be fetched."""
    if given.content is None and "://" not in given.name:
        yield Path(given.name)
        return
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, f"input{PurePosixPath(given.name).suffix}")
        if given.content is not None:
            target.write_bytes(given.content)
        else:
            filesystem, path = open_url(given.name)
            if isinstance(filesystem, LocalFileSystem):
                target = Path(path)
            else:
                _fetch(given.name, target)
        yield target


def expect_input(path: Path, suffixes: Sequence[str]) -> Path:
    """The path of an input; raises InputError for a folder that isn't one, as a list can name it."""
    if path.is_dir() and not (".npy" in suffixes and Path(path, ARRAYS).is_file()):
        raise InputError("a folder, expected a file")
    return path


def _fetch(url: str, target: Path) -> None:
    filesystem, path = open_url(url)
    try:
        filesystem.get(path, str(target), recursive=filesystem.isdir(path))
    except FileNotFoundError:
        raise InputError(f"{url}: no such file") from None
    except Exception as error:  # each object store's library has errors of its own
        raise InputError(f"{url}: can't be fetched ({type(error).__name__}: {first_line(error)})") from None


def short_hash(key: str) -> str:
    """A name for what has `key`, the same on every machine."""
    return blake2b(key.encode(), digest_size=8).hexdigest()


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: can't be read ({error.strerror})") from None


def _found(name: str, place: str) -> Iterator[Source]:
    """The inputs of a file of a folder; one that can't be read is an input whose error is told later."""
    if not _is_utf8(name):
        yield Source(printable(absolute(name)), NOT_UTF8)
        return
    try:
        yield from _expanded(name, place)
    except InputError:
        yield Source(absolute(name), 0)


def _is_utf8(name: str) -> bool:
    """Whether a table can hold a name: a file's may be of any bytes."""
    return name == name.encode("utf-8", "replace").decode()


def _expanded(name: str, place: str) -> Iterator[Source]:
    """The inputs that a file stands for."""
    if name.lower().endswith(".txt"):
        yield from (Source(absolute(line, place)) for line in _lines(name))
    elif name.lower().endswith(".parquet"):
        yield from _table_sources(absolute(name), place)
    else:
        yield Source(absolute(name))


def _lines(name: str) -> Iterator[str]:
    """The lines of a text file that hold something."""
    filesystem, path = open_url(name)
    try:
        with filesystem.open(path, "rt", encoding="utf-8") as lines:
            yield from (line.strip() for line in lines if line.strip())
    except UnicodeDecodeError:
        raise InputError(f"{name}: not UTF-8, expected a path or URL a line") from None


def _table_sources(name: str, place: str) -> Iterator[Source]:
    with opened_parquet(name) as file:
        contents, paths = _columns(file.schema_arrow, name)
        if contents:
            yield from (Source(name, group) for group in range(file.num_row_groups))
            return
        for batch in file.iter_batches(columns=[paths]):
            yield from (Source(absolute(path, place)) for path in batch.column(0).to_pylist() if path)


@contextmanager
def opened_parquet(name: str) -> Iterator[parquet.ParquetFile]:
    """A Parquet file by path or URL; raises InputError that names it where it is none."""
    filesystem, path = open_url(name)
    try:
        with filesystem.open(path, "rb") as stream:
            yield parquet.ParquetFile(stream)
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{name}: not a readable Parquet file ({first_line(error)})") from None


def _columns(schema: pyarrow.Schema, name: str) -> tuple[str | None, str | None]:
    """The columns of contents and of paths; raises InputError where there is neither, or one of them twice."""
    kinds = {field.name: field.type for field in schema}
    contents = next((column for column in CONTENTS if column in kinds and _holds_bytes(kinds[column])), None)
    paths = next((column for column in PATHS if column in kinds and _is_text(kinds[column])), None)
    if contents and not paths and _has(kinds[contents], "path", _is_text):
        paths = f"{contents}.path"
    if contents is None and paths is None:
        raise InputError(f"{name}: columns {', '.join(kinds)}, expected one of {', '.join({*PATHS, *CONTENTS})}")
    for column in (contents, paths):
        if schema.names.count(column) > 1:
            raise InputError(f"{name}: {schema.names.count(column)} columns {column!r}, expected one")
    return contents, paths


def _row_names(file: parquet.ParquetFile, source: Source, paths: str | None) -> list[str]:
    """The names of the rows of a row group: their paths, with file and row where a path isn't the only one."""
    first = sum(file.metadata.row_group(i).num_rows for i in range(source.row_group))
    rows = range(first, first + file.metadata.row_group(source.row_group).num_rows)
    if paths is None:
        return [f"{source.name}:{row}" for row in rows]
    column = file.read(columns=[paths]).column(0).to_pylist()
    named = [value.get("path") if isinstance(value, dict) else value for value in column]
    count = Counter(named)
    places = {row: f"{source.name}:{row}" + (f"/{named[row]}" if named[row] else "") for row in rows}
    return [named[row] if named[row] and count[named[row]] == 1 else places[row] for row in rows]


def _contents(batch: pyarrow.RecordBatch) -> list[bytes | None]:
    """The contents of some rows, of a column of bytes or of structs of bytes."""
    values = batch.column(0).to_pylist()
    return [value.get("bytes") if isinstance(value, dict) else value for value in values]


def _holds_bytes(kind: pyarrow.DataType) -> bool:
    return _has(kind, "bytes", _is_bytes) or _is_bytes(kind)


def _has(kind: pyarrow.DataType, field: str, of: Callable[[pyarrow.DataType], bool]) -> bool:
    """Whether a column is of structs with such a field."""
    return pyarrow.types.is_struct(kind) and kind.get_field_index(field) >= 0 and of(kind.field(field).type)


def _is_bytes(kind: pyarrow.DataType) -> bool:
    return pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)


def _is_text(kind: pyarrow.DataType) -> bool:
    return pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)


def _as_given(given: str, path: str, found: str) -> str:
    """A file that was found below `path` by a name like the one that was given."""
    if "://" not in given:
        return found
    first, *outer = given.split("::")
    name = (
        found if found.startswith(f"{first.split('://')[0]}://") else f"{first.split('://')[0]}://{found.lstrip('/')}"
    )
    if first.startswith("file://"):
        name = f"file://{found}"
    return "::".join([name, *outer])
