"""metamixer detect"""

import json
from collections.abc import Sequence
from pathlib import Path

from ..data.images.decoding import MAX_PIXELS, bomb_guard
from ..errors import InputError
from ..models.tasks import DETECTION
from ..system.files import check_targets, each_once, unique_stems, write_picture, write_text
from .batch import Batch
from .engine import predict_files


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
    engine: str | None = None,
    pictures: bool = False,
) -> None:
    """Detect objects in images and folders; write images with the objects drawn in, and COCO results.

    Args:
        images: image files and folders.
        checkpoint: a file of a training run, or a published one, which needs --model.
        out: folder for the drawn images and detections.json.
        model: a network's name.
        score_threshold: minimum score of an object; the network returns none below 0.05.
        overwrite: replace existing results.
        max_pixels: larger images are refused before decoding.
        precision: fp32, or bf16, which is less accurate and faster on processors that support it.
        device: the device to compute on, such as cpu or cuda.
        engine: ray, or ray:ACTORS such as ray:4, for very many inputs: also lists (.txt), Parquet files and URLs, with
            results as Parquet in `out`; a stopped job goes on.
        pictures: with an engine, draw each result too.
    """
    from ..data.images.reading import find_images
    from ..predictors.detector import Detector, image_ids
    from ..system.allocator import keep_freed_memory

    if not 0 <= score_threshold <= 1:
        raise InputError(f"score_threshold {score_threshold}, expected a number from 0 to 1")
    if engine:
        load = {"source": checkpoint, "model": model, "device": device, "precision": precision}
        options = {"score_threshold": score_threshold}
        how = {"pictures": pictures, "max_pixels": max_pixels, "overwrite": overwrite}
        predict_files(engine, DETECTION.name, images, out, load=load, options=options, **how)
        return
    paths = each_once(find_images(images))
    drawn = [Path(out, f"{stem}.jpg") for stem in unique_stems(paths)]
    table = Path(out, "detections.json")
    check_targets([*drawn, table], sources=paths, overwrite=overwrite)
    keep_freed_memory()
    detector = Detector.load(checkpoint, model=model, device=device, precision=precision)
    found: dict[Path, list[dict]] = {}
    with bomb_guard(max_pixels), Batch(len(paths), out) as batch:
        for path, picture, number in zip(paths, drawn, image_ids(paths), strict=True):
            with batch.file(path):
                objects = detector(path, score_threshold=score_threshold)
                write_picture(picture, detector.draw(path, objects))
                about = {"image_id": number, "file_name": str(path), "picture": picture.name}
                found[path] = [{**about, **entry} for entry in detector.results(objects)]
                print(f"{path}: {named(found[path])}", flush=True)
        if found:
            write_text(table, json.dumps([entry for entries in found.values() for entry in entries]))


def named(entries: Sequence[dict]) -> str:
    """Format the objects of an image in a line."""
    return ", ".join(f"{entry['category']} {entry['score']:.2f}" for entry in entries) or "nothing found"
