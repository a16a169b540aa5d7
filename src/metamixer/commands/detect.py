"""metamixer detect"""

from collections.abc import Sequence
from pathlib import Path

from ..data.images.decoding import MAX_PIXELS, bomb_guard
from ..errors import InputError, counted, printable
from ..system.files import each_once, free_name
from ..system.json_files import write_json
from .batch import Job, plan, run_jobs
from .downloads import origin
from .engine import done_by_engine
from .output import OWN_CLASSES

TABLE = "detections.json"


def detect(
    images: Sequence[str],
    *,
    checkpoint: str | None = None,
    out: str | None = None,
    model: str | None = None,
    score_threshold: float = 0.3,
    json: str | None = None,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
    backend: str | None = None,
    precision: str = "fp32",
    device: str = "cpu",
    engine: str | None = None,
    pictures: bool = False,
) -> None:
    """Detect objects in images and folders; write images with the objects drawn in, and COCO results.

    Args:
        checkpoint: a checkpoint of a training run, or a published one, which needs --model.
        out: folder for a picture of each image and for detections.json; default: detected, or detected_2 if that
            exists.
        model: a name from `metamixer models`; default: the smallest published network, which is downloaded (339 MB).
        score_threshold: minimum score of an object; the network returns none below 0.05.
        backend: eager or auto; both mean PyTorch, because no other backend supports this network.
        precision: fp32, or bf16, which is less accurate and faster on processors that support it.
        all others: see shared_options.py.
    """
    from ..data.images.reading import find_images
    from ..predictors.detector import Detector, image_ids
    from ..system.allocator import keep_freed_memory

    if not 0 <= score_threshold <= 1:
        raise InputError(f"score_threshold {score_threshold}, expected a number from 0 to 1")
    load = {"source": checkpoint, "model": model, "device": device, "backend": backend, "precision": precision}
    options = {"score_threshold": score_threshold}
    how = {"pictures": pictures, "max_pixels": max_pixels, "overwrite": overwrite, "refused": {"json": json}}
    if done_by_engine(engine, Detector.task, images, out, load=load, options=options, **how):
        return
    paths = each_once(find_images(images))
    out = out or free_name("detected", overwrite=overwrite)
    jobs, output = plan(paths, out, endings=lambda path: (".jpg",), tables=(TABLE,), json=json, overwrite=overwrite)
    keep_freed_memory()
    detector = Detector.load(**load)
    numbers = dict(zip(paths, image_ids(paths), strict=True))

    def find(job: Job) -> dict:
        found = detector(job.source, **options)
        picture = found.save(job.named(".jpg"))
        output.say(f"{printable(job.source)}: {found}")
        about = {"image_id": numbers[job.source], "picture": picture.name, "folder": str(out)}
        return {**about, **found.to_dict(), "image": origin(job.source)}

    def finish(found: list[dict]) -> None:
        write_json(Path(out, TABLE), coco_results(found), indent=None)
        output.end(
            found,
            wrote=[Path(out, TABLE), f"{counted(len(found), 'picture')} in {out}"],
            then="--score_threshold NUMBER sets the minimum score of an object" if checkpoint else OWN_CLASSES,
        )

    with bomb_guard(max_pixels):
        run_jobs(jobs, out, find, finish)


def coco_results(found: Sequence[dict]) -> list[dict]:
    """The objects of all images as entries of a COCO results file."""
    return [
        {"image_id": image["image_id"], "file_name": image["image"], "picture": image["picture"], **entry}
        for image in found
        for entry in image["objects"]
    ]
