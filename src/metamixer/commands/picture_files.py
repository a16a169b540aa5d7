"""What the commands from images to images do with files: where each result goes, and one file's way."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from PIL import Image

    from ..data.images.lossless import PictureFile
    from ..predictors.image_to_image import ImageToImage


Job = tuple[Path, Path, Path | None]
"""An image, the file of its result, and the file of their comparison if one is wanted."""


def plan(images: Sequence[str], out: Path, *, compare: bool, overwrite: bool) -> list[Job]:
    """The files of each image; raises InputError if two are the same, or one exists or is an input."""
    from ..data.images.lossless import SUFFIXES
    from ..system.files import check_targets

    if is_file_name(out, images):
        jobs = {out: Path(images[0])}
        check_suffix(jobs[out], out)
    elif out.suffix.lower() in SUFFIXES and not out.is_dir():
        raise InputError(f"out {str(out)!r}, expected a folder for the results of several images")
    else:
        jobs = _in_folder(images, out)
    comparisons = comparisons_of(jobs) if compare else {}
    check_targets([*jobs, *comparisons.values()], sources=jobs.values(), overwrite=overwrite)
    return [(source, target, comparisons.get(target)) for target, source in jobs.items()]


def default_out(images: Sequence[str], ending: str, *, overwrite: bool) -> str:
    """The default of --out: NAME_ENDING.SUFFIX for one image, the folder ENDING for several."""
    from ..system.files import free_name

    one = Path(images[0])
    single = len(images) == 1 and not one.is_dir()
    return free_name(f"{one.stem}_{ending}{one.suffix}" if single else ending, overwrite=overwrite)


def is_file_name(out: Path, images: Sequence[str]) -> bool:
    """Whether --out names the file of one image, not a folder."""
    return len(images) == 1 and not Path(images[0]).is_dir() and bool(out.suffix) and not out.is_dir()


def check_suffix(source: Path, target: Path) -> None:
    """Raise InputError unless a result's suffix is of an image format, or the source's own."""
    from ..data.images.lossless import SUFFIXES

    if target.suffix.lower() not in (*SUFFIXES, source.suffix.lower()):
        raise InputError(f"out {str(target)!r}, expected a name that ends in one of {', '.join(SUFFIXES)}")


def _in_folder(images: Sequence[str], out: Path) -> dict[Path, Path]:
    """The file to write -> its image."""
    from ..data.images.reading import find_images
    from ..system.files import each_once

    targets: dict[Path, Path] = {}
    for given in map(Path, images):
        for source in find_images([given]) if given.is_dir() else [given]:
            targets.setdefault(source, out / (source.relative_to(given) if given.is_dir() else source.name))
    jobs: dict[Path, Path] = {}
    for source in each_once(targets):
        target = targets[source]
        if target in jobs:
            raise InputError(
                f"{source}: its result would be {target}, like that of {jobs[target]}, expected images with "
                "different names"
            )
        jobs[target] = source
    return jobs


def comparisons_of(targets: Collection[Path]) -> dict[Path, Path]:
    """The path of each result's comparison with its image: NAME_compare.jpg, with the suffix if two have one NAME."""
    names = Counter(target.with_suffix("") for target in targets)
    return {
        target: target.with_name(f"{target.stem if names[target.with_suffix('')] == 1 else target.name}_compare.jpg")
        for target in targets
    }


def process_file(
    predictor: "ImageToImage",
    source: Path,
    target: Path,
    *,
    comparison: Path | None = None,
    on_tile: Callable[[int, int], object] | None = None,
) -> dict[str, Any]:
    """Read an image, process it and write the result in the format of its name.

    Returns the result's fields besides its pixels. Raises InputError that names the faulty file.
    """
    from ..data.images.lossless import check_side, in_format_of, read_picture, write_picture_file
    from ..predictors.image_types import changed_file
    from ..system.files import write_picture

    picture = read_picture(source)
    if target.suffix.lower() != source.suffix.lower():
        picture = in_format_of(picture, target)
    check_side(picture, target, scale=predictor.scale)
    treatment = predictor.treatment(picture, on_tile=on_tile)
    result = changed_file(picture, treatment.change, scale=predictor.scale)
    write_picture_file(result, target)
    if comparison:
        write_picture(comparison, side_by_side(picture, result))
    return treatment.about


def side_by_side(picture: "PictureFile", result: "PictureFile") -> "Image.Image":
    """The image on the left, enlarged by bicubic to the size of its result, which is on the right."""
    from PIL import Image

    right = result.preview()
    both = Image.new("RGB", (2 * right.width + GAP, right.height), "white")
    both.paste(picture.preview().resize(right.size, Image.Resampling.BICUBIC), (0, 0))
    both.paste(right, (right.width + GAP, 0))
    return both


GAP = 8
"""Pixels between two images side by side."""
