"""metamixer detect"""

import json
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from ..files import unique_stems, write_picture, write_text


def detect(
    images: Sequence[str],
    *,
    checkpoint: str,
    out: str,
    model: str | None = None,
    score_threshold: float = 0.3,
    device: str = "cpu",
) -> None:
    """Find objects in images and folders of images; write pictures of them and COCO's results.

    Args:
        images: files and folders.
        checkpoint: a file of a training run, or a published one, which needs its model's name.
        out: folder for a picture of each image and for detections.json.
        model: a network's name.
        score_threshold: objects that the network is less sure of are left out; it gives none below 0.05.
        device: where to compute, such as cpu or cuda.
    """
    from ..detector import Detector, image_ids
    from ..machine import find_device
    from ..prediction import find_images

    if not 0 <= score_threshold <= 1:
        raise InputError(f"score_threshold {score_threshold}, expected a number from 0 to 1")
    paths = find_images(images)
    detector = Detector.load(model=model, checkpoint=checkpoint)
    detector.network.to(find_device(device))
    results = []
    for path, stem, number in zip(paths, unique_stems(paths), image_ids(paths), strict=True):
        found = detector(path, score_threshold=score_threshold)
        write_picture(Path(out, f"{stem}.jpg"), detector.draw(path, found))
        entries = detector.results(found)
        results += [{"image_id": number, "file_name": str(path), **entry} for entry in entries]
        print(f"{path}: " + (", ".join(f"{entry['category']} {entry['score']:.2f}" for entry in entries) or "nothing found"))
    write_text(Path(out, "detections.json"), json.dumps(results))
