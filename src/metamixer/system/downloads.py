"""Published files: downloaded once, from their release or a mirror, and verified by checksum."""

import hashlib
import os
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urldefrag, urlparse

from ..errors import InputError
from .files import written_whole
from .web import cause_of, is_url

RELEASE = "https://github.com/ysj9909/FFNet/releases/download/v1.0"
"""The authors' release of FFNet."""

MIRROR = "METAMIXER_WEIGHTS"
"""Environment variable with a folder or base URL of the release's files, for machines without internet access."""


def download(url: str) -> Path:
    """The path of a URL's file: in the mirror's folder, or in torch's hub cache, to which it is downloaded once.

    The file's SHA-256 must equal the one in the URL (`URL#sha256=DIGEST`), else the one stored at its first use.
    Raises InputError if the download fails or the hash differs.
    """
    address, _, pinned = url.partition("#sha256=")
    address = urldefrag(address).url
    of_release = address.startswith(f"{RELEASE}/")
    mirror = os.environ.get(MIRROR, "") if of_release else ""
    name = Path(urlparse(address).path).name
    if not of_release:  # other addresses may have files of the same name
        name = f"{hashlib.sha256(address.encode()).hexdigest()[:16]}-{name}"
    if mirror and not is_url(mirror):
        path = Path(mirror).expanduser() / name
        if not path.is_file():
            raise InputError(f"{MIRROR} {mirror}: doesn't contain {name}, expected the file from {address}")
    else:
        path = cache() / name
        if not path.is_file():
            _fetch(f"{mirror.rstrip('/')}/{name}" if mirror else address, path)
    _compare(path, pinned)
    return path


def forget(path: Path) -> None:
    """Remove a file from the cache with its checksum; files of other folders stay."""
    if path.parent == cache():
        path.unlink(missing_ok=True)
        checksum_file(path).unlink(missing_ok=True)


def cache() -> Path:
    """torch's folder for downloaded weights."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def checksum_file(path: Path) -> Path:
    """The file that stores the SHA-256 of a download."""
    return path.with_name(path.name + ".sha256")


def _fetch(url: str, path: Path) -> None:
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path))  # under a temporary name until complete
    except (OSError, HTTPException, ValueError) as error:
        raise InputError(
            f"{url}: can't be downloaded ({cause_of(error)}); download the file yourself and give its path, or set the "
            f"environment variable {MIRROR} to its folder"
        ) from None


def _compare(path: Path, pinned: str) -> None:
    """Raise InputError if a file's hash differs from the pinned one, or from the one at its first use."""
    checksum = checksum_file(path)
    kept = checksum.read_text().split() if checksum.is_file() else []
    expected = pinned or "".join(kept[:1])
    if not expected and path.parent != cache():  # no files are written into a mirror's folder
        return
    digest = _sha256(path)
    if not expected:
        with written_whole(checksum) as part:
            part.write_text(f"{digest}  {path.name}\n")
    elif expected != digest:
        raise InputError(
            f"{path}: SHA-256 {digest}, expected {expected}: delete the file and its .sha256 to download it again"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
