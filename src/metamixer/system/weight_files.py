"""Files of weights: read without running code, written whole."""

import argparse
import io
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO
from zipfile import ZipFile, is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import InputError, first_line
from .downloads import download, forget
from .files import expect_file, written_whole
from .web import is_url

Source = str | Path | Mapping[str, Tensor]

MOST_UNPACKED = 20
"""Maximum compression ratio of a checkpoint in an archive; weights hardly compress."""
REPEATED = 16 * 2**20
"""Bytes of a tensor that repeats what a file holds once, such as a buffer that was expanded."""


def read_published(source: Source, *, weights: str = "state_dict") -> Mapping[str, Tensor]:
    """Read the state dict of a published file or URL, or a given one; no code in the file is executed."""
    if isinstance(source, Mapping):
        content = source
    elif is_url(source):
        content = _read_url(str(source))
    else:
        content = _read_file(Path(source))
    if weights == "state_dict" and "params" in content:
        weights = "params"
    if weights in content:
        content = content[weights]
    elif weights != "state_dict":
        raise InputError(f"{_short(source)}: no entry {weights!r}, expected one of {names_of(content)}")
    is_state = isinstance(content, Mapping) and content and all(isinstance(key, str) for key in content)
    if not is_state or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(
            f"{_short(source)}: no state dict found, expected a dictionary of tensors, as such or under 'state_dict'"
        )
    return content


def _read_url(url: str) -> Mapping:
    path = download(url)
    try:
        return _read_file(path)
    except InputError:
        # a truncated download would stay in the cache, with a matching checksum
        forget(path)
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
        with torch.serialization.safe_globals([argparse.Namespace]), _unpacked(path) as file:
            _expect_uncompressed(path, file)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code:
            raise InputError(f"{path}: contains {code[1]}, expected tensors and plain values: not loaded") from None
        raise InputError(
            f"{path}: not a readable checkpoint ({type(error).__name__}): truncated, or another kind of file"
        ) from None
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: contains a {type(content).__name__}, expected a checkpoint dictionary")
    problem = next(filter(None, map(_problem_of, _tensors_in(content))), None)
    if problem:
        raise InputError(f"{path}: contains {problem}: not loaded")
    return content


def write_torch_file(content: object, path: str | Path) -> None:
    """Write what `torch.save` takes; the file is replaced atomically."""
    file = io.BytesIO()  # a full disk would end the process in PyTorch's own writer
    torch.save(content, file)
    with written_whole(path) as part:
        part.write_bytes(file.getbuffer())


def _tensors_in(content: object) -> Iterator[Tensor]:
    """The tensors in mappings and sequences; a loop without recursion, because a file may nest them deep."""
    left, seen = [content], set()
    while left:
        value = left.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, Mapping | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))
            left.extend(value.values() if isinstance(value, Mapping) else value)


def _problem_of(tensor: Tensor) -> str | None:
    """Why a tensor is none that training writes: its elements aren't in the file one by one."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        return f"a tensor of layout {tensor.layout} on {tensor.device}, expected numbers in the file"
    if tensor.numel() * tensor.element_size() > max(tensor.untyped_storage().nbytes(), REPEATED):
        return f"a tensor of {tensor.numel():,} elements, more than the file holds"
    return None


@contextmanager
def _unpacked(path: Path) -> Iterator[Path | IO[bytes]]:
    """The checkpoint inside a ZIP archive, as one detector is published; any other file unchanged."""
    members = []
    if is_zipfile(path):  # as torch's own files are
        with ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith((".pth", ".pt", ".tar"))]
    if len(members) != 1:
        yield path
        return
    with ZipFile(path) as archive, archive.open(members[0]) as member, TemporaryFile() as file:
        if members[0].file_size > MOST_UNPACKED * max(members[0].compress_size, 1):
            raise InputError(f"{path}: {members[0].filename} unpacks to {members[0].file_size:,} bytes: not loaded")
        shutil.copyfileobj(member, file)
        file.seek(0)
        yield file


def _expect_uncompressed(path: Path, file: Path | IO[bytes]) -> None:
    """Raise InputError for a compressed checkpoint: PyTorch writes none, but would unpack one of any size."""
    if not is_zipfile(file):
        return
    size = file.stat().st_size if isinstance(file, Path) else file.seek(0, os.SEEK_END)
    with ZipFile(file) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > size:
        raise InputError(
            f"{path}: {unpacked:,} bytes of tensors in {size:,} bytes, expected no compression: not loaded"
        )
    if not isinstance(file, Path):
        file.seek(0)


def expect_finite(state: Mapping[str, Tensor], name: object) -> None:
    """Raise InputError that names the first tensor with a value that is NaN or infinite."""
    for key, tensor in state.items():
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"{name}: {key} holds values that are NaN or infinite, expected finite weights")


def names_of(content: Mapping, *, most: int = 8) -> str:
    """The first keys of a file for messages."""
    names = [str(key) for key in content]
    return ", ".join(names[:most]) + f" and {len(names) - most} more" * (len(names) > most)


def _short(source: Source) -> str:
    return "state dict" if isinstance(source, Mapping) else str(source)
