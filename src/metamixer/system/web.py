"""Downloads from URLs: HTTPS only, with limits of size and time."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlparse
from urllib.request import Request, urlopen

from ..errors import InputError

LARGEST = 256 * 2**20
"""Maximum size of a download in bytes."""

TIMEOUT = 30
"""Seconds to wait for a response."""

LONGEST = 600
"""Maximum time of a download in seconds."""

CHUNK = 2**20
SCHEMES = ("https",)


def is_url(source: object) -> bool:
    """Whether a source is a URL."""
    return isinstance(source, str) and source.startswith(("http://", "https://"))


def fetch(url: str, *, largest: int = LARGEST, longest: float = LONGEST) -> bytes:
    """The content of a URL; raises InputError if it isn't HTTPS, is too large, too slow or can't be downloaded."""
    if urlparse(url).scheme not in SCHEMES:
        raise InputError(f"{url}: expected an https URL")
    content, end = bytearray(), time.monotonic() + longest
    try:
        with urlopen(Request(url, headers={"User-Agent": "metamixer"}), timeout=TIMEOUT) as answer:
            if urlparse(answer.url).scheme not in SCHEMES:
                raise InputError(f"{url}: redirects to {answer.url}, expected an https URL")
            while chunk := answer.read1(CHUNK):  # what has arrived, so that a slow server can't hold this up
                content += chunk
                if len(content) > largest:
                    raise InputError(f"{url}: more than {largest >> 20} MiB, expected a smaller file")
                if time.monotonic() > end:
                    raise InputError(f"{url}: not downloaded in {longest:g} s; download the file yourself")
            if missing := getattr(answer, "length", None):  # a connection that ended early is no error for read1
                raise InputError(f"{url}: ended {missing} bytes early; try again")
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{url}: can't be downloaded ({cause_of(error)}); download the file yourself and give its path"
        ) from None
    return bytes(content)


def cause_of(error: Exception) -> str:
    """Why a download failed, in words: `Name or service not known`, `HTTP Error 404: Not Found`."""
    reason = getattr(error, "reason", None)  # what urllib wraps
    inner = reason if isinstance(reason, OSError) else error
    return str(getattr(inner, "strerror", None) or inner)


@contextmanager
def fetched(url: str) -> Iterator[Path]:
    """Download a URL to a temporary file of the same name; yields its path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name_in(url))
        path.write_bytes(fetch(url))
        yield path


def name_in(url: str) -> str:
    """The name of the file at a URL, at most its last 100 characters."""
    name = PurePosixPath(unquote(urlparse(url).path)).name.replace("\0", "").replace("\\", "_")
    return name.lstrip(".")[-100:].lstrip(".") or "file"
