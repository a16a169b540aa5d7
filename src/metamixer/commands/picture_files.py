"""What the commands from images to images, upscale and restore, do with files."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.images.decoding import bomb_guard
from ..errors import InputError, counted
from .batch import Job, run_jobs
from .downloads import origin
from .output import Output
from .progress import progress_bar, shown

if TYPE_CHECKING:
    from PIL import Image

    from ..data.images.lossless import PictureFile
    from ..predictors.image_to_image import ImageToImage, OnTile


@dataclass(frozen=True)
class ImageJob(Job):
    """An image and the file of its result; comparison: the file that shows both, if one is wanted."""

    comparison: Path | None = None


def plan_images(
    images: Sequence[str], out: Path, *, compare: bool, json: str | None, overwrite: bool
) -> tuple[list[ImageJob], Output]:
    """A job for each image, and the command's output.

    Raises InputError if a result is an input or another result, or exists.
    """
    from ..data.images.lossless import SUFFIXES
    from ..system.files import check_targets

    if is_file_name(out, images):
        sources = {out: Path(images[0])}
        check_suffix(sources[out], out)
    elif out.suffix.lower() in SUFFIXES and not out.is_dir():
        raise InputError(f"out {str(out)!r}, expected a folder for the results of several images")
    else:
        sources = _in_folder(images, out)
    comparisons = comparisons_of(sources) if compare else {}
    results = [*sources, *comparisons.values()]
    check_targets(results, sources=sources.values(), overwrite=overwrite)
    jobs = [ImageJob(source, target, comparisons.get(target)) for target, source in sources.items()]
    return jobs, Output(json, sources=sources.values(), results=results, overwrite=overwrite)


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
    sources: dict[Path, Path] = {}
    for source in each_once(targets):
        target = targets[source]
        if target in sources:
            raise InputError(
                f"{source}: its result would be {target}, like that of {sources[target]}, expected images with "
                "different names"
            )
        sources[target] = source
    return sources


def comparisons_of(targets: Collection[Path]) -> dict[Path, Path]:
    """The path of each result's comparison with its image: NAME_compare.jpg, with the suffix if two have one NAME."""
    names = Counter(target.with_suffix("") for target in targets)
    return {
        target: target.with_name(f"{target.stem if names[target.with_suffix('')] == 1 else target.name}_compare.jpg")
        for target in targets
    }


def process_files(
    jobs: Sequence[ImageJob],
    out: str,
    output: Output,
    work: Callable[[ImageJob, "OnTile"], dict[str, Any]],
    next_command: Callable[[list[dict[str, Any]]], str],
    *,
    max_pixels: int,
) -> None:
    """Do the work of each job, with a progress bar, and end the output with the results; raises as `Batch` does.

    work: from a job and what to call after each tile to the fields of its result; next_command: to suggest, by the
    results.
    """

    def process(job: ImageJob) -> dict[str, Any]:
        with shown(progress, job.source.name) as on_tile:
            about = work(job, on_tile)
        return {"image": origin(job.source), "result": str(job.target), **about}

    def finish(done: list[dict[str, Any]]) -> None:
        files = filter(None, (jobs[0].target, jobs[0].comparison))
        wrote = files if len(jobs) == 1 else [f"{counted(len(done), 'image')} in {out}"]
        output.end(done, wrote=wrote, then=next_command(done))

    with bomb_guard(max_pixels), progress_bar() as progress:
        run_jobs(jobs, out, process, finish)


def process_file(predictor: "ImageToImage", job: ImageJob, *, on_tile: "OnTile | None" = None) -> dict[str, Any]:
    """Read an image, process it and write the result in the format of its name.

    Returns the result's fields besides its pixels. Raises InputError that names the faulty file.
    """
    from ..data.images.lossless import check_side, in_format_of, read_picture, write_picture_file
    from ..predictors.image_types import changed_file
    from ..system.files import write_picture

    picture = read_picture(job.source)
    if job.target.suffix.lower() != job.source.suffix.lower():
        picture = in_format_of(picture, job.target)
    check_side(picture, job.target, scale=predictor.scale)
    treatment = predictor.treatment(picture, on_tile=on_tile)
    result = changed_file(picture, treatment.change, scale=predictor.scale)
    write_picture_file(result, job.target)
    if job.comparison:
        write_picture(job.comparison, side_by_side(picture, result))
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
