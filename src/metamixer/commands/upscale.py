"""metamixer upscale"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.images.decoding import MAX_PIXELS, bomb_guard
from ..errors import InputError, printable
from .batch import Batch

if TYPE_CHECKING:
    from PIL import Image
    from rich.progress import Progress

    from ..data.images.lossless import PictureFile
    from ..predictors.upscaler import Upscaler


def upscale(
    images: Sequence[str],
    *,
    scale: int | None = None,
    out: str = "upscaled",
    model: str | None = None,
    checkpoint: str | None = None,
    compare: bool = False,
    overwrite: bool = False,
    memory: int = 256,
    max_pixels: int = MAX_PIXELS,
    backend: str | None = None,
    precision: str = "fp32",
    device: str = "cpu",
) -> None:
    """Upscale images and folders of images, keeping format, bit depth, alpha, orientation and color profile.

    Args:
        images: image files and folders.
        scale: 2, 3 or 4; default: the checkpoint's, 2 without one.
        out: folder for the results, which keep their names and subfolders.
        model: a network's name; without a checkpoint its packaged weights are used, which ffnet_sr_nano has.
        checkpoint: a file of a training run, or a published one, which needs --model.
        compare: also write NAME.SUFFIX_compare.jpg with bicubic and the network side by side.
        overwrite: replace existing results.
        memory: limit in MiB of the network's largest tensors; image, result and PyTorch's cache are not included.
        max_pixels: larger images are refused before decoding.
        backend: openvino, onnxruntime, compile, eager, or auto for the fastest; default: eager PyTorch.
        precision: fp32, bf16 or, with a backend, auto for the fastest.
        device: the device to compute on, such as cpu or cuda.
    """
    from ..predictors.upscaler import Upscaler

    jobs = plan(images, Path(out), compare=compare, overwrite=overwrite)
    place = {"device": device, "backend": backend, "precision": precision}
    upscaler = Upscaler.load(checkpoint, model=model, scale=scale, memory=memory, **place)
    with bomb_guard(max_pixels), progress_bar() as progress, Batch(len(jobs), out) as batch:
        for source, target in jobs:
            with batch.file(source), shown(progress, source) as show:
                upscale_file(upscaler, source, target, compare=compare, on_tile=show)
                print(printable(target), flush=True)


def plan(images: Sequence[str], out: Path, *, compare: bool, overwrite: bool) -> list[tuple[Path, Path]]:
    """Each image with its target file; raises InputError if targets coincide, are inputs or exist."""
    from ..data.images.reading import find_images
    from ..system.files import check_targets

    jobs: dict[Path, Path] = {}
    for given in map(Path, images):
        for source in find_images([given]) if given.is_dir() else [given]:
            target = out / (source.relative_to(given) if given.is_dir() else source.name)
            if target in jobs:
                raise InputError(
                    f"{source}: its result would be {target}, like that of {jobs[target]}, expected images with "
                    "different names"
                )
            jobs[target] = source
    comparisons = [comparison_of(target) for target in jobs] if compare else []
    check_targets([*jobs, *comparisons], sources=jobs.values(), overwrite=overwrite)
    return [(source, target) for target, source in jobs.items()]


def comparison_of(target: Path) -> Path:
    """The file that compares a result with bicubic."""
    return target.with_name(f"{target.name}_compare.jpg")


def upscale_file(
    upscaler: "Upscaler",
    source: Path,
    target: Path,
    *,
    compare: bool = False,
    on_tile: Callable[[int, int], object] | None = None,
) -> None:
    """Read, upscale and write an image; raises InputError that names the faulty file."""
    from ..data.images.lossless import check_side, read_picture, write_picture_file
    from ..system.files import write_picture

    picture = read_picture(source)
    check_side(picture, target, scale=upscaler.scale)
    enlarged = upscaler.enlarge_file(picture, on_tile=on_tile)
    write_picture_file(enlarged, target)
    if compare:
        write_picture(comparison_of(target), side_by_side(picture, enlarged))


def side_by_side(picture: "PictureFile", enlarged: "PictureFile") -> "Image.Image":
    """Bicubic on the left, the network on the right."""
    from PIL import Image

    right = enlarged.preview()
    both = Image.new("RGB", (2 * right.width + GAP, right.height), "white")
    both.paste(picture.preview().resize(right.size, Image.Resampling.BICUBIC), (0, 0))
    both.paste(right, (right.width + GAP, 0))
    return both


GAP = 8
"""Pixels between two images side by side."""


@contextmanager
def shown(progress: "Progress", source: Path) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of an image; yields a function of (tiles done, all tiles)."""
    task = progress.add_task(source.name, total=None)
    try:
        yield lambda done, count: progress.update(task, completed=done, total=count)
    finally:
        progress.remove_task(task)


def progress_bar() -> "Progress":
    """A progress bar of tiles on standard error, below printed lines."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal)
