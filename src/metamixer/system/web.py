"""Files at URLs: one place, HTTPS alone, of bounded size."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlparse
from urllib.request import Request, urlopen

from ..errors import InputError

LARGEST = 256 * 2**20
"""Bytes of a file that is read from a URL."""

TIMEOUT = 30
"""Seconds without an answer."""

CHUNK = 2**20


def is_url(source: object) -> bool:
    """Whether something is the address of a file on the web."""
    return isinstance(source, str) and source.startswith(("http://", "https://"))


def fetch(url: str, *, largest: int = LARGEST) -> bytes:
    """What stands at a URL; raises InputError where it is not HTTPS, too large, or can't be fetched."""
    if urlparse(url).scheme != "https":
        raise InputError(f"{url}: expected an https address")
    content = bytearray()
    try:
        with urlopen(Request(url, headers={"User-Agent": "metamixer"}), timeout=TIMEOUT) as answer:
            if urlparse(answer.url).scheme != "https":
                raise InputError(f"{url}: leads to {answer.url}, expected an https address")
            while chunk := answer.read(CHUNK):
                content += chunk
                if len(content) > largest:
                    raise InputError(f"{url}: more than {largest >> 20} MiB, expected a smaller file")
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{url}: can't be fetched ({error}); fetch it elsewhere and give its path") from None
    return bytes(content)


@contextmanager
def fetched(url: str) -> Iterator[Path]:
    """The file of a URL under its own name, for as long as it is needed."""
    name = PurePosixPath(unquote(urlparse(url).path)).name.lstrip(".") or "file"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(fetch(url))
        yield path
