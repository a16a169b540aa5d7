"""Weight files: read without running code, downloaded once, verified by checksum."""

import argparse
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import InputError, first_line
from .files import expect_file, write_text, written_whole

Source = str | Path | Mapping[str, Tensor]


def read_published(source: Source, *, weights: str = "state_dict") -> Mapping[str, Tensor]:
    """Read the state dict of a published file or URL, or a given one; no code in the file is executed."""
    if isinstance(source, Mapping):
        content = source
    elif str(source).startswith(("http://", "https://")):
        content = _read_url(str(source))
    else:
        content = _read_file(Path(source))
    if weights == "state_dict" and "params" in content:
        weights = "params"
    if weights in content:
        content = content[weights]
    elif weights != "state_dict":
        raise InputError(f"{_short(source)}: no entry {weights!r}, expected one of {names_of(content)}")
    if not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(
            f"{_short(source)}: no state dict found, expected a dictionary of tensors, as such or under 'state_dict'"
        )
    return content


def _read_url(url: str) -> Mapping:
    path = download(url)
    try:
        return _read_file(path)
    except InputError:
        # A truncated download would otherwise stay in the cache forever, with a matching checksum.
        path.unlink(missing_ok=True)
        _checksum_file(path).unlink(missing_ok=True)
        raise


def _read_file(path: Path) -> Mapping:
    if path.suffix != ".safetensors":
        return read_torch_file(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({first_line(error)})") from None


def read_torch_file(path: Path) -> Mapping:
    """`torch.load` with tensors and plain values only, and `argparse.Namespace`, which published files contain."""
    expect_file(path)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code:
            raise InputError(f"{path}: contains {code[1]}, expected tensors and plain values: not loaded") from None
        raise InputError(
            f"{path}: not a readable checkpoint ({type(error).__name__}): truncated, or another kind of file"
        ) from None
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: contains a {type(content).__name__}, expected a checkpoint dictionary")
    return content


def expect_finite(state: Mapping[str, Tensor], name: object) -> None:
    """Raise InputError that names the first tensor with a value that is NaN or infinite."""
    for key, tensor in state.items():
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"{name}: {key} holds values that are NaN or infinite, expected finite weights")


def download(url: str) -> Path:
    """Download a URL to PyTorch's hub cache; its SHA-256 is stored on first use and verified on later ones."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    name = Path(urlparse(url).path).name
    if not name or name == "..":
        raise InputError(f"{url}: expected the URL of a file")
    path = folder / name
    checksum = _checksum_file(path)
    if not path.is_file():
        try:
            with written_whole(path) as part:
                torch.hub.download_url_to_file(url, str(part))
        except (OSError, InputError) as error:
            raise InputError(f"{url}: can't be downloaded ({error}); download it elsewhere and pass its path") from None
    digest = _sha256(path)
    if not checksum.is_file():
        write_text(checksum, f"{digest}  {path.name}")
    elif checksum.read_text().split()[0] != digest:
        raise InputError(
            f"{path}: SHA-256 {digest}, expected {checksum.read_text().split()[0]}: remove both files to download again"
        )
    return path


def _checksum_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def names_of(content: Mapping, *, most: int = 8) -> str:
    """The first keys of a file for messages."""
    names = [str(key) for key in content]
    return ", ".join(names[:most]) + f" and {len(names) - most} more" * (len(names) > most)


def _short(source: Source) -> str:
    return "state dict" if isinstance(source, Mapping) else str(source)
