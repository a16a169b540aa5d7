"""metamixer segment"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.images.decoding import MAX_PIXELS, bomb_guard
from ..errors import InputError, printable
from ..system.files import check_targets, each_once, unique_stems, write_csv, write_png, write_text
from .batch import Batch

if TYPE_CHECKING:
    from ..predictors.segmenter import Segmenter


def segment(
    images: Sequence[str],
    *,
    checkpoint: str,
    out: str,
    model: str | None = None,
    window: int | None = None,
    stride: int | None = None,
    overlays: bool = True,
    grey_images: bool = False,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
    precision: str = "fp32",
    device: str = "cpu",
) -> None:
    """Give each pixel of images and folders of images a class; write label PNGs, coloured pictures and the areas.

    Args:
        images: files and folders.
        checkpoint: a file of a training run, or a published one, which needs its model's name.
        out: folder for NAME_labels.png, NAME_overlay.png, areas.csv and areas.json.
        model: a network's name.
        window: side in pixels of the windows through which a larger image is seen; none: the checkpoint's, else 1024.
        stride: step in pixels from window to window; none: the checkpoint's, else three quarters of the window.
        overlays: write the coloured pictures too.
        grey_images: take a grey image as one of three equal channels, else it is refused.
        overwrite: replace results that exist.
        max_pixels: an image of more is refused before it is decoded.
        precision: fp32, or bf16, which is faster where the processor has it, and less exact.
        device: where to compute, such as cpu or cuda.
    """
    from ..data.images.reading import find_images
    from ..predictors.segmenter import Segmenter
    from ..system.allocator import keep_freed_memory

    for name, value in (("window", window), ("stride", stride)):
        if value is not None and value < 32:
            raise InputError(f"{name} {value}, expected at least 32 pixels")
    paths = each_once(find_images(images))
    stems = unique_stems(paths)
    pictures = [Path(out, f"{stem}_{kind}.png") for stem in stems for kind in ("labels", "overlay")[: 1 + overlays]]
    check_targets([*pictures, Path(out, "areas.json"), Path(out, "areas.csv")], sources=paths, overwrite=overwrite)
    keep_freed_memory()
    segmenter = Segmenter.load(checkpoint, model=model, device=device, precision=precision)
    if window or stride:
        segmenter.use_windows(window or segmenter.preprocessing.window, stride)
    areas: list[dict] = []
    with bomb_guard(max_pixels), Batch(len(paths), out) as batch:
        for path, stem in zip(paths, stems, strict=True):
            with batch.file(path):
                areas.append(segment_file(segmenter, path, Path(out, stem), overlays=overlays, grey_images=grey_images))
        if areas:
            write_areas(areas, Path(out))


def segment_file(segmenter: "Segmenter", path: Path, target: Path, *, overlays: bool, grey_images: bool) -> dict:
    """Write what is made of one image beside `target`, which has no suffix, and give its areas."""
    from ..data.segmentation.label_maps import paint

    labels = segmenter(path, grey_images=grey_images)
    if overlays:
        write_png(target.with_name(f"{target.name}_overlay.png"), segmenter.draw(path, labels))
    write_png(target.with_name(f"{target.name}_labels.png"), paint(labels, segmenter.colours))
    classes = {name: {"pixels": count, "share": count / labels.size} for name, count in segmenter.areas(labels).items()}
    areas = ", ".join(f"{name} {area['share']:.1%}" for name, area in classes.items())
    print(printable(f"{path}: {areas}"), flush=True)
    height, width = labels.shape
    return {
        "image": str(path),
        "labels": f"{target.name}_labels.png",
        "width": width,
        "height": height,
        "classes": classes,
    }


def write_areas(areas: Sequence[dict], out: Path) -> None:
    """Write the areas of all images as JSON and as a table."""
    write_text(out / "areas.json", json.dumps(areas, indent=1))
    table = [
        (row["image"], name, area["pixels"], f"{area['share']:.6f}", row["labels"])
        for row in areas
        for name, area in row["classes"].items()
    ]
    write_csv(out / "areas.csv", [("image", "class", "pixels", "share", "labels"), *table])
