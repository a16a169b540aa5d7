"""metamixer segment"""

import json
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from ..files import unique_stems, write_csv, write_png, write_text


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
        device: where to compute, such as cpu or cuda.
    """
    from ..allocator import keep_freed_memory
    from ..data.label_maps import paint
    from ..data.segmentation import check_colour
    from ..machine import find_device
    from ..prediction import find_images
    from ..segmenter import Segmenter

    for name, value in (("window", window), ("stride", stride)):
        if value is not None and value < 32:
            raise InputError(f"{name} {value}, expected at least 32 pixels")
    paths = find_images(images)
    if not grey_images:
        for path in paths:
            check_colour(path)
    keep_freed_memory()
    segmenter = Segmenter.load(model=model, checkpoint=checkpoint)
    if window or stride:
        segmenter.use_windows(window or segmenter.preprocessing.window, stride)
    segmenter.network.to(find_device(device))
    rows = []
    for path, stem in zip(paths, unique_stems(paths), strict=True):
        labels = segmenter(path, grey_images=grey_images)
        write_png(Path(out, f"{stem}_labels.png"), paint(labels, segmenter.colours))
        if overlays:
            write_png(Path(out, f"{stem}_overlay.png"), segmenter.draw(path, labels))
        areas = {name: {"pixels": count, "share": count / labels.size} for name, count in segmenter.areas(labels).items()}
        rows.append({"image": str(path), "width": labels.shape[1], "height": labels.shape[0], "classes": areas})
        print(f"{path}: " + ", ".join(f"{name} {area['share']:.1%}" for name, area in areas.items()))
    write_text(Path(out, "areas.json"), json.dumps(rows, indent=1))
    table = [(row["image"], name, area["pixels"], f"{area['share']:.6f}") for row in rows for name, area in row["classes"].items()]
    write_csv(Path(out, "areas.csv"), [("image", "class", "pixels", "share"), *table])
