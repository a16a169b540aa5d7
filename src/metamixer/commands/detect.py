"""metamixer detect"""

import json
from collections.abc import Sequence
from pathlib import Path

from ..data.images.decoding import MAX_PIXELS, bomb_guard
from ..errors import InputError, printable
from ..system.files import check_targets, each_once, unique_stems, write_picture, write_text
from .batch import Batch


def detect(
    images: Sequence[str],
    *,
    checkpoint: str,
    out: str,
    model: str | None = None,
    score_threshold: float = 0.3,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
    precision: str = "fp32",
    device: str = "cpu",
) -> None:
    """Find objects in images and folders of images; write pictures of them and COCO's results.

    Args:
        images: files and folders.
        checkpoint: a file of a training run, or a published one, which needs its model's name.
        out: folder for a picture of each image and for detections.json.
        model: a network's name.
        score_threshold: objects that the network is less sure of are left out; it gives none below 0.05.
        overwrite: replace results that exist.
        max_pixels: an image of more is refused before it is decoded.
        precision: fp32, or bf16, which is faster where the processor has it, and less exact.
        device: where to compute, such as cpu or cuda.
    """
    from ..data.images.reading import find_images
    from ..predictors.detector import Detector, image_ids
    from ..system.allocator import keep_freed_memory

    if not 0 <= score_threshold <= 1:
        raise InputError(f"score_threshold {score_threshold}, expected a number from 0 to 1")
    paths = each_once(find_images(images))
    pictures = [Path(out, f"{stem}.jpg") for stem in unique_stems(paths)]
    table = Path(out, "detections.json")
    check_targets([*pictures, table], sources=paths, overwrite=overwrite)
    keep_freed_memory()
    detector = Detector.load(checkpoint, model=model, device=device, precision=precision)
    found: dict[Path, list[dict]] = {}
    with bomb_guard(max_pixels), Batch(len(paths), out) as batch:
        for path, picture, number in zip(paths, pictures, image_ids(paths), strict=True):
            with batch.file(path):
                objects = detector(path, score_threshold=score_threshold)
                write_picture(picture, detector.draw(path, objects))
                about = {"image_id": number, "file_name": str(path), "picture": picture.name}
                found[path] = [{**about, **entry} for entry in detector.results(objects)]
                print(printable(f"{path}: {named(found[path])}"), flush=True)
        if found:
            write_text(table, json.dumps([entry for entries in found.values() for entry in entries]))


def named(entries: Sequence[dict]) -> str:
    """The objects of an image in a line."""
    return ", ".join(f"{entry['category']} {entry['score']:.2f}" for entry in entries) or "nothing found"
