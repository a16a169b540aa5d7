"""Inputs by URL: downloaded to temporary files for as long as a command runs, and named by their URLs."""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..system.web import fetch, is_url, name_in
from .progress import working

INPUTS = ("images", "clouds", "table")
"""Positional arguments that may be URLs."""

LOCAL = (*INPUTS, "data")
"""Positional arguments that are files or folders."""

ORIGINS: dict[str, str] = {}
"""Temporary file -> its URL."""


@contextmanager
def downloaded(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A command's arguments with URLs replaced by temporary files; raises InputError that names a URL it can't read."""
    if values.get("engine"):  # reads URLs itself
        yield dict(values)
        return
    with tempfile.TemporaryDirectory(prefix="metamixer-") as folder:
        try:
            yield {name: local(value, folder) if name in INPUTS and value else value for name, value in values.items()}
        except InputError as error:
            raise InputError(with_urls(str(error))) from None
        finally:
            ORIGINS.clear()


def local(given: str | Sequence[str], folder: str) -> str | list[str]:
    """The file of a URL, or the files of several; other names unchanged."""
    if not isinstance(given, str):
        return [str(local(each, folder)) for each in given]
    if not is_url(given):
        return given
    path = Path(folder, str(len(ORIGINS)), name_in(given))  # two URLs may have the same name
    with working(f"downloading {path.name}"):
        content = fetch(given)
    path.parent.mkdir()
    path.write_bytes(content)
    ORIGINS[str(path)] = given
    return str(path)


def origin(path: Path) -> str:
    """The URL that a file is from, else its path."""
    return ORIGINS.get(str(path), str(path))


def with_urls(text: str) -> str:
    """A text with URLs in place of the files downloaded from them."""
    for path, url in ORIGINS.items():
        text = text.replace(path, url)
    return text


def refuse_no_files(values: Mapping[str, Any]) -> None:
    """Raise InputError for an empty name, which Python takes for this folder, and for URLs that it can't read."""
    for name in LOCAL:
        given = values.get(name)
        for word in [given] if isinstance(given, str) else given or ():
            if not word:
                raise InputError(f"{name} '', expected the name of a file or folder")
            if values.get("engine") or (name in INPUTS and is_url(word)):
                continue
            if re.match("[a-z][a-z0-9+.-]+://", word):
                others = " or an https URL; --engine local and ray read others" if name in INPUTS else ""
                raise InputError(f"{word}: a URL, expected a file or folder{others}")
