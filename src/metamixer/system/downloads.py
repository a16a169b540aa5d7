"""Published files: fetched once, from their release or a mirror of it, and compared by checksum."""

import hashlib
import os
from pathlib import Path
from urllib.parse import urldefrag, urlparse

from ..errors import InputError
from .files import written_whole

RELEASE = "https://github.com/ysj9909/FFNet/releases/download/v1.0"
"""The authors' release of FFNet."""

MIRROR = "METAMIXER_WEIGHTS"
"""The environment variable that names a folder or base URL with the release's files, for machines without the internet.
"""


def is_url(source: object) -> bool:
    """Whether a source is fetched by HTTP."""
    return str(source).startswith(("http://", "https://"))


def download(url: str) -> Path:
    """The file of a URL: in the mirror's folder, or in torch's hub cache, fetched if it isn't there.

    Its SHA-256 is compared with that which the URL tells (`URL#sha256=DIGEST`), else with that of its first use.
    Raises InputError where it can't be had, or is another file.
    """
    address, _, pinned = url.partition("#sha256=")
    mirror = os.environ.get(MIRROR, "") if address.startswith(f"{RELEASE}/") else ""
    name = Path(urlparse(urldefrag(address).url).path).name
    if mirror and not is_url(mirror):
        path = Path(mirror).expanduser() / name
        if not path.is_file():
            raise InputError(f"{MIRROR} {mirror}: no {name} in it, expected the file of {address}")
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
    """What keeps the SHA-256 of a download."""
    return path.with_name(path.name + ".sha256")


def _fetch(url: str, path: Path) -> None:
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path))  # under another name until it is whole
    except OSError as error:
        raise InputError(
            f"{url}: can't be downloaded ({error}); fetch it elsewhere and give its path, or name a folder of such "
            f"files in {MIRROR}"
        ) from None


def _compare(path: Path, pinned: str) -> None:
    """Raise InputError where a file isn't the one that is pinned, or that was first used."""
    checksum = checksum_file(path)
    kept = checksum.read_text().split() if checksum.is_file() else []
    expected = pinned or "".join(kept[:1])
    if not expected and path.parent != cache():  # a mirror's folder is its owner's
        return
    digest = _sha256(path)
    if not expected:
        with written_whole(checksum) as part:
            part.write_text(f"{digest}  {path.name}\n")
    elif expected != digest:
        raise InputError(f"{path}: SHA-256 {digest}, expected {expected}: remove both files to fetch it anew")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
