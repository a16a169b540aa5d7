"""metamixer detect"""

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from ..data.images.decoding import MAX_PIXELS, bomb_guard
from ..errors import InputError, printable
from ..system.files import each_once, write_text
from .batch import Job, plan, run_jobs

TABLE = "detections.json"


def detect(
    images: Sequence[str],
    *,
    checkpoint: str,
    out: str,
    model: str | None = None,
    score_threshold: float = 0.3,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
    backend: str | None = None,
    precision: str = "fp32",
    device: str = "cpu",
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
        backend: eager or auto, which are PyTorch: no other backend holds this network; none: the same.
        precision: fp32, or bf16, which is less accurate and faster on processors that support it.
        device: the device to compute on, such as cpu or cuda.
    """
    from ..data.images.reading import find_images
    from ..predictors.detector import Detector, image_ids
    from ..system.allocator import keep_freed_memory

    if not 0 <= score_threshold <= 1:
        raise InputError(f"score_threshold {score_threshold}, expected a number from 0 to 1")
    paths = each_once(find_images(images))
    jobs = plan(paths, out, endings=lambda path: (".jpg",), tables=(TABLE,), overwrite=overwrite)
    keep_freed_memory()
    detector = Detector.load(checkpoint, model=model, device=device, backend=backend, precision=precision)
    numbers = dict(zip(paths, image_ids(paths), strict=True))

    def find(job: Job) -> list[dict]:
        found = detector(job.source, score_threshold=score_threshold)
        picture = found.save(job.named(".jpg"))
        print(printable(f"{job.source}: {found}"), flush=True)
        about = {"image_id": numbers[job.source], "file_name": str(job.source), "picture": picture.name}
        return [{**about, **entry} for entry in found.entries()]

    with bomb_guard(max_pixels):
        run_jobs(jobs, out, find, lambda found: write_text(Path(out, TABLE), json.dumps(list(chain(*found)))))
