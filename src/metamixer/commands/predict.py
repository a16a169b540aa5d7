"""metamixer predict"""

import json as json_format
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.images.decoding import MAX_PIXELS, bomb_guard
from ..errors import at_least, printable
from ..system.files import check_targets, write_text
from .batch import Batch

if TYPE_CHECKING:
    from ..predictors.classification import Classification
    from ..predictors.classifier import Classifier


def predict(
    images: Sequence[str],
    *,
    model: str | None = None,
    checkpoint: str | None = None,
    top: int = 5,
    json: str | None = None,
    overwrite: bool = False,
    batch_size: int = 32,
    max_pixels: int = MAX_PIXELS,
    device: str = "cpu",
    backend: str | None = None,
) -> None:
    """Classify images and folders of images.

    Args:
        images: image files and folders.
        model: a network's name; without a checkpoint its published weights are fetched.
        checkpoint: a file of a training run or of `metamixer export`, or a published one, which needs --model.
        top: number of classes per image.
        json: file for the results; "-" for standard output instead of the table.
        overwrite: replace an existing file.
        batch_size: images per batch.
        max_pixels: an image of more is refused before it is decoded.
        device: the device to compute on, such as cpu or cuda.
        backend: openvino, onnxruntime, compile, eager, or auto for the fastest; default: eager PyTorch.
    """
    from ..data.images.reading import find_images
    from ..predictors.classifier import Classifier
    from ..system.allocator import keep_freed_memory

    at_least("top", top, 1)
    at_least("batch_size", batch_size, 1)
    keep_freed_memory()
    paths = find_images(images)
    if json and json != "-":
        check_targets([Path(json)], sources=[*paths, *([Path(checkpoint)] if checkpoint else [])], overwrite=overwrite)
    classifier = Classifier.load(checkpoint, model=model, device=device)
    if backend:
        classifier.deploy(backend, batch_size=min(batch_size, len(paths)))
    results = []
    with bomb_guard(max_pixels), Batch(len(paths), {None: "the table", "-": "the output"}.get(json, json)) as batch:
        for path, found in classify(classifier, paths, batch, batch_size=batch_size):
            results.append(found.to_dict(top))
            if json != "-":
                classes = (f"  {share:7.2%}  {printable(name)}" for name, share in found.top(top))
                print(printable(path), *classes, sep="\n")
        if results and json == "-":
            print(json_format.dumps(results, indent=1))
        elif results and json:
            write_text(json, json_format.dumps(results, indent=1))


def classify(
    classifier: "Classifier", paths: Sequence[Path], batch: Batch, *, batch_size: int
) -> Iterator[tuple[Path, "Classification"]]:
    """Each file that is an image with its result."""
    for start in range(0, len(paths), batch_size):
        images = {}
        for path in paths[start : start + batch_size]:
            with batch.file(path):
                images[path] = classifier.read(path)
        if images:
            yield from zip(images, classifier.results(images), strict=True)
