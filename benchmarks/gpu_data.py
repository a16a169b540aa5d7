"""Pack a folder of labeled images small enough to send to a machine with a GPU, for benchmarks/gpu_all.sh.

    python benchmarks/gpu_data.py /data/mini_imagenet --out runs/gpu_data/mini_imagenet.tar.gz --mebibytes 36

Reads FOLDER/train/CLASS/* and FOLDER/val/CLASS/*, and writes squares of 72 px as WebP, of the highest quality with
which the archive has at most this size. It is one archive because tens of thousands of small files take several times
their size on disk; gpu_all.sh unpacks it.
"""

import argparse
import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image, ImageOps

from metamixer.data.images.reading import IMAGE_SUFFIXES
from metamixer.errors import InputError

QUALITIES = range(90, 0, -5)
SAMPLE = 500
"""Images from which the size of an archive is estimated."""

MARGIN = 0.98
"""Fraction of the size that an estimate may take."""


def images_in(folder: Path, *, val_images: int) -> list[Path]:
    """All training images, and the first of each class for validation."""
    found = []
    for split, most in (("train", None), ("val", val_images)):
        for kind in sorted(path for path in folder.glob(f"{split}/*") if path.is_dir()):
            found += sorted(path for path in kind.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)[:most]
    if not found:
        raise InputError(f"{folder}: no images, expected train/CLASS/IMAGE and val/CLASS/IMAGE")
    return found


def encoded(path: Path, *, side: int, quality: int) -> bytes:
    """The middle square of an image, as WebP."""
    with Image.open(path) as image:
        square = ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    square.save(content, "WEBP", quality=quality, method=6)
    return content.getvalue()


def members(paths: Iterable[Path], **options: int) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Name and content of each file: SPLIT/CLASS/NAME.webp."""
    for path in paths:
        content = encoded(path, **options)
        info = tarfile.TarInfo("/".join((*path.parts[-3:-1], path.stem + ".webp")))
        info.size = len(content)
        yield info, content


def archive(paths: Iterable[Path], file: io.BufferedIOBase, **options: int) -> None:
    """Write the archive; compression shrinks the files' headers."""
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as target:
        for info, content in members(paths, **options):
            target.addfile(info, io.BytesIO(content))


def best_quality(paths: list[Path], *, side: int, most: float) -> int:
    """The highest quality with which all images take at most this many bytes, estimated from some of them."""
    sample = paths[:: max(1, len(paths) // SAMPLE)]
    for quality in QUALITIES:
        content = io.BytesIO()
        archive(sample, content, side=side, quality=quality)
        size = content.tell() / len(sample) * len(paths)
        print(f"quality {quality}: about {size / 2**20:.1f} MiB", flush=True)
        if size <= most * MARGIN:
            return quality
    raise InputError(f"--mebibytes {most / 2**20:g}, expected at least {size / MARGIN / 2**20:.0f} for these images")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu_data/mini_imagenet.tar.gz"))
    parser.add_argument("--mebibytes", type=float, default=36, help="largest size of the archive")
    parser.add_argument("--side", type=int, default=72, help="in pixels")
    parser.add_argument("--val-images", type=int, default=20, help="validation images per class")
    options = parser.parse_args()
    paths = images_in(options.folder, val_images=options.val_images)
    quality = best_quality(paths, side=options.side, most=options.mebibytes * 2**20)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("wb") as file:
        archive(paths, file, side=options.side, quality=quality)
    print(
        f"{options.out}: {len(paths):,} images of {options.side} px, quality {quality}, "
        f"{options.out.stat().st_size / 2**20:.1f} MiB"
    )


if __name__ == "__main__":
    main()
