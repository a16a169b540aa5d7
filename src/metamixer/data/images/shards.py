"""WebDataset shards on disk as a data set with indices.

Tar files aren't compressed, so any member can be read once its offset is known. Shuffling, several processes and exact
resuming need indices, which a stream doesn't have.
"""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from ...errors import InputError, first_line

MOST_CLASSES = 2**31 - 1


class ShardReader:
    """Samples of tar files: an image and its class in consecutive members, such as `NAME.jpg` and `NAME.cls`.

    label: key of the class in `NAME.json`, for shards without `NAME.cls`. Only offsets are kept, 40 bytes per sample.
    """

    def __init__(self, shards: Sequence[Path], *, suffixes: Sequence[str], label: str = ""):
        self.shards, self.label = list(shards), label
        found = [
            (number, *places)
            for number, shard in enumerate(self.shards)
            for places in sample_places(shard, suffixes=suffixes, label_suffix=".json" if label else ".cls")
        ]
        self.places = np.array(found, dtype=np.int64).reshape(-1, 5)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[io.BytesIO, int]:
        shard, image, image_size, label, label_size = self.places[index].tolist()
        with self.shards[shard].open("rb") as file:
            content, text = (_read(file, *place) for place in ((image, image_size), (label, label_size)))
        try:
            number = int(json.loads(text)[self.label] if self.label else text)
            if not -MOST_CLASSES <= number <= MOST_CLASSES:
                raise ValueError("too large")
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise InputError(
                f"{self.filename(index)}: class {text[:20]!r} ({first_line(error)}), expected a number"
            ) from None
        return io.BytesIO(content), number

    def filename(self, index: int, absolute: bool = True) -> str:
        """The shard and the image's name in it."""
        shard, image = self.places[index, :2].tolist()
        with self.shards[shard].open("rb") as file:
            header = _read(file, image - tarfile.BLOCKSIZE, tarfile.BLOCKSIZE)
        name = tarfile.TarInfo.frombuf(header, tarfile.ENCODING, "surrogateescape").name
        return f"{self.shards[shard]}/{name}"


def sample_places(shard: Path, *, suffixes: Sequence[str], label_suffix: str) -> Iterator[tuple[int, int, int, int]]:
    """Offset and size of the image and of the label of each sample."""
    try:
        with tarfile.open(shard, "r:") as archive:
            for key, members in groupby(_members(archive), key=lambda member: _split(member.name)[0]):
                parts = {_split(member.name)[1]: member for member in members}
                image = next((parts[suffix] for suffix in suffixes if suffix in parts), None)
                if image is None:
                    continue
                if label_suffix not in parts:
                    raise InputError(f"{shard}: sample {key} without a class, expected {key}{label_suffix} beside it")
                label = parts[label_suffix]
                for member in (image, label):
                    _expect_inside(member, shard)
                yield image.offset_data, image.size, label.offset_data, label.size
    except InputError:
        raise
    except Exception as error:  # tarfile trips over headers in many ways
        raise InputError(f"{shard}: not a readable shard ({first_line(error)}), expected a tar file") from None


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        archive.members = []  # tarfile would keep all of them
        if member.isreg():
            yield member


def _expect_inside(member: tarfile.TarInfo, shard: Path) -> None:
    """Raise InputError for a member larger than its file, as a header of a sparse one can claim."""
    room = shard.stat().st_size - member.offset_data
    if not 0 <= member.size <= room:
        raise InputError(f"{shard}: {member.name} of {member.size} bytes, expected 0 to {room}: it is incomplete")


def _split(name: str) -> tuple[str, str]:
    """Sample and suffix of a member; the suffix starts at the first dot, as in WebDataset."""
    folder, slash, file = name.rpartition("/")
    stem, point, suffix = file.partition(".")
    return folder + slash + stem, (point + suffix).lower()


def _read(file, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
