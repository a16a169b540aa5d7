"""metamixer upscale"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.images.decoding import MAX_PIXELS, bomb_guard
from ..errors import InputError
from .batch import Batch
from .engine import predict_files, refuse_with_engine
from .output import Output
from .progress import progress_bar, shown

if TYPE_CHECKING:
    from PIL import Image

    from ..data.images.lossless import PictureFile
    from ..predictors.upscaler import Upscaler


def upscale(
    images: Sequence[str],
    *,
    scale: int | None = None,
    out: str | None = None,
    model: str | None = None,
    checkpoint: str | None = None,
    compare: bool = False,
    overwrite: bool = False,
    memory: int = 256,
    max_pixels: int = MAX_PIXELS,
    json: str | None = None,
    backend: str | None = None,
    precision: str = "fp32",
    device: str = "cpu",
    engine: str | None = None,
    pictures: bool = False,
) -> None:
    """Upscale images and folders of images, keeping format, bit depth, alpha, orientation and color profile.

    Args:
        images: image files and folders.
        scale: 2, 3 or 4; default: the checkpoint's, or 2.
        out: file for one image, or folder for several; default: NAME_upscaled.SUFFIX for one image, the folder
            upscaled for several, with _2 added if that exists.
        model: a name from `metamixer models`; default: ffnet_sr_nano, which is in the package.
        checkpoint: a checkpoint of a training run, or a published one, which needs --model.
        compare: also write NAME.SUFFIX_compare.jpg with bicubic and the network side by side.
        overwrite: replace existing results.
        memory: limit in MiB of the network's largest tensors; image, result and PyTorch's cache are not included.
        max_pixels: maximum number of pixels; larger images are refused before decoding.
        json: file for the result as JSON; "-" for standard output, without other lines.
        backend: openvino, onnxruntime, compile, eager, or auto for the fastest; default: eager PyTorch.
        precision: fp32, bf16 or, with a backend, auto for the fastest.
        device: the device to compute on, such as cpu or cuda.
        engine: ray, or ray:ACTORS such as ray:4, for very many inputs: also lists (.txt), Parquet files and URLs, with
            results as Parquet in `out`; a stopped job goes on.
        pictures: with an engine, draw each result too.
    """
    from ..predictors.upscaler import Upscaler

    place = {"device": device, "backend": backend, "precision": precision}
    if engine:
        from ..models.tasks import SUPER_RESOLUTION

        refuse_with_engine(engine, compare=compare, json=json)
        load = {"source": checkpoint, "model": model, "scale": scale, "memory": memory, **place}
        how = {"pictures": pictures, "max_pixels": max_pixels, "overwrite": overwrite}
        predict_files(engine, SUPER_RESOLUTION.name, images, out, load=load, options={}, **how)
        return
    out = out or default_out(images, overwrite=overwrite)
    jobs = plan(images, Path(out), compare=compare, overwrite=overwrite)
    output = Output(json, sources=[source for source, _ in jobs], overwrite=overwrite)
    upscaler = Upscaler.load(checkpoint, model=model, scale=scale, memory=memory, **place)
    done, written = [], []
    with bomb_guard(max_pixels), progress_bar() as progress, Batch(len(jobs), out) as batch:
        for source, target in jobs:
            with batch.file(source), shown(progress, source.name) as show:
                upscale_file(upscaler, source, target, compare=compare, on_tile=show)
                written += [target, comparison_of(target)] if compare else [target]
                if len(jobs) > 1:
                    output.say(target)
                done.append({"image": str(source), "result": str(target), "scale": upscaler.scale})
        if done:
            then = "" if compare else "add --compare to see it beside bicubic"
            output.end(done, wrote=written if len(jobs) == 1 else [f"{len(done)} images in {out}"], then=then)


def plan(images: Sequence[str], out: Path, *, compare: bool, overwrite: bool) -> list[tuple[Path, Path]]:
    """Each image with the file to write; raises InputError if two are the same, or one exists or is an input."""
    from ..system.files import check_targets

    if is_file_name(out, images):
        jobs = {out: Path(images[0])}
        check_suffix(jobs[out], out)
    else:
        jobs = _in_folder(images, out)
    comparisons = [comparison_of(target) for target in jobs] if compare else []
    check_targets([*jobs, *comparisons], sources=jobs.values(), overwrite=overwrite)
    return [(source, target) for target, source in jobs.items()]


def default_out(images: Sequence[str], *, overwrite: bool) -> str:
    """The default of --out."""
    from ..system.files import free_name

    one = Path(images[0])
    single = len(images) == 1 and not one.is_dir()
    return free_name(f"{one.stem}_upscaled{one.suffix}" if single else "upscaled", overwrite=overwrite)


def is_file_name(out: Path, images: Sequence[str]) -> bool:
    """Whether --out names the file of one image, not a folder."""
    return len(images) == 1 and not Path(images[0]).is_dir() and bool(out.suffix) and not out.is_dir()


def check_suffix(source: Path, target: Path) -> None:
    """Raise InputError if a result's suffix is of another format; an image keeps its format."""
    same = [{".jpg", ".jpeg"}, {".tif", ".tiff"}, {source.suffix.lower()}]
    if not any({source.suffix.lower(), target.suffix.lower()} <= suffixes for suffixes in same):
        raise InputError(
            f"out {str(target)!r}, expected a name that ends in {source.suffix}: an image keeps its format"
        )


def _in_folder(images: Sequence[str], out: Path) -> dict[Path, Path]:
    """The file to write -> its image."""
    from ..data.images.reading import find_images

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
    return jobs


def comparison_of(target: Path) -> Path:
    """The path of a result's comparison with bicubic."""
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
