"""A folder on a disk or in an object store, whose files appear whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from ..errors import InputError, first_line
from ..system.files import is_part, refuse_special, written_whole


def open_url(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a path or URL, and the path in it; raises InputError where there is no such file system."""
    try:
        filesystem, path = fsspec.url_to_fs(url)
    except ImportError as error:  # s3fs, gcsfs and others are packages of their own
        raise InputError(f"{url}: {first_line(error)}") from None
    except ValueError as error:
        raise InputError(f"{url}: not a path or URL that can be read ({first_line(error)})") from None
    if isinstance(filesystem, LocalFileSystem):
        refuse_special(Path(path))
    return filesystem, path


@dataclass(frozen=True)
class Folder:
    """url: of a folder, by fsspec (s3://, gs://, file://), or a path; every machine of a cluster has to reach it."""

    url: str

    @property
    def filesystem(self) -> fsspec.AbstractFileSystem:
        return open_url(self.url)[0]

    @property
    def local(self) -> Path | None:
        """Its path on a disk, None in an object store."""
        filesystem, path = open_url(self.url)
        return Path(path) if isinstance(filesystem, LocalFileSystem) else None

    def path(self, name: str) -> str:
        """The path of one of its files in its file system."""
        return f"{open_url(self.url)[1].rstrip('/')}/{name}"

    def names(self, below: str) -> list[str]:
        """The whole files in one of its folders and below it, in order; none where there is no such folder.

        One that another process is writing, or was writing when it was killed, isn't among them.
        """
        filesystem = self.filesystem
        filesystem.invalidate_cache()
        start = len(self.path(""))
        return sorted(found[start:] for found in filesystem.find(self.path(below)) if not is_part(found))

    def exists(self, name: str) -> bool:
        self.filesystem.invalidate_cache()
        return self.filesystem.exists(self.path(name))

    @contextmanager
    def reading(self, name: str) -> Iterator[Any]:
        with self.filesystem.open(self.path(name), "rb") as file:
            yield file

    @contextmanager
    def writing(self, name: str) -> Iterator[Any]:
        """Give a file that gets its name when all went well.

        An object store gets it then: most of fsspec's files keep what was written before an error when they are closed.
        """
        filesystem, path = self.filesystem, self.path(name)
        if self.local:
            with written_whole(Path(path)) as part, part.open("wb") as file:
                yield file
        else:
            with TemporaryDirectory() as place:
                part = Path(place, "part")
                with part.open("wb") as file:
                    yield file
                filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
                filesystem.put_file(str(part), path)

    def write(self, name: str, content: bytes) -> None:
        with self.writing(name) as file:
            file.write(content)

    def remove(self, name: str) -> None:
        """Remove a file or folder, where there is one."""
        if self.exists(name):
            self.filesystem.rm(self.path(name), recursive=True)
