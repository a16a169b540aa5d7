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
    """Enlarge images and folders of images; each keeps its format, depth, alpha, orientation and colour profile.

    Args:
        images: files and folders.
        scale: 2, 3 or 4; none: the checkpoint's, 2 without one.
        out: folder for the results, which have the names of the images; those of a folder keep their places in it.
        model: a network's name; without a checkpoint the weights in the package are used, of which ffnet_sr_nano has
            some.
        checkpoint: a file of a training run, or a published one, which needs its model's name.
        compare: write NAME.SUFFIX_compare.jpg as well, where bicubic stands beside the network.
        overwrite: replace results that exist.
        memory: bound in MiB on the network's largest tensors at a time; image, result and what PyTorch keeps come on
            top.
        max_pixels: an image of more is refused before it is decoded.
        backend: openvino, onnxruntime, compile, eager, or auto for the fastest of them; none: PyTorch as the network
            is.
        precision: fp32, bf16 or, with a backend, auto for the faster one.
        device: where to compute, such as cpu or cuda.
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
    """Each image with the file to write; raises InputError where two would be one, a result one of the images, or there
    already.
    """
    from ..data.images.reading import find_images
    from ..system.files import check_targets

    jobs: dict[Path, Path] = {}
    for given in map(Path, images):
        for source in find_images([given]) if given.is_dir() else [given]:
            target = out / (source.relative_to(given) if given.is_dir() else source.name)
            if target in jobs:
                raise InputError(
                    f"{source}: its result would be {target}, as that of {jobs[target]}, expected images of "
                    "different names"
                )
            jobs[target] = source
    comparisons = [comparison_of(target) for target in jobs] if compare else []
    check_targets([*jobs, *comparisons], sources=jobs.values(), overwrite=overwrite)
    return [(source, target) for target, source in jobs.items()]


def comparison_of(target: Path) -> Path:
    """Where a result stands beside bicubic."""
    return target.with_name(f"{target.name}_compare.jpg")


def upscale_file(
    upscaler: "Upscaler",
    source: Path,
    target: Path,
    *,
    compare: bool = False,
    on_tile: Callable[[int, int], object] | None = None,
) -> None:
    """Read one image, enlarge it, write it; raises InputError that names the file that was wrong."""
    from ..data.images.lossless import check_side, read_picture, write_picture_file
    from ..predictors.upscaler import enlarge_alpha
    from ..system.files import write_picture

    picture = read_picture(source)
    check_side(picture, target, scale=upscaler.scale)
    alpha = None if picture.alpha is None else enlarge_alpha(picture.alpha, upscaler.scale)
    enlarged = picture.with_pixels(upscaler.enlarge(picture.colour, on_tile=on_tile), alpha)
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
"""Pixels between two pictures side by side."""


@contextmanager
def shown(progress: "Progress", source: Path) -> Iterator[Callable[[int, int], None]]:
    """A line of the bar while an image is at work; what is given is called with (tiles done, tiles)."""
    task = progress.add_task(source.name, total=None)
    try:
        yield lambda done, count: progress.update(task, completed=done, total=count)
    finally:
        progress.remove_task(task)


def progress_bar() -> "Progress":
    """A bar of tiles on standard error, and lines above it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal)
