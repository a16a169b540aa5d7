"""metamixer predict"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.images.decoding import MAX_PIXELS, bomb_guard
from ..errors import InputError, at_least, printable
from ..system.files import each_once
from .batch import Batch
from .downloads import origin
from .engine import done_by_engine
from .output import FASTER, OWN_CLASSES, Output

if TYPE_CHECKING:
    from ..predictors.classification import Classification
    from ..predictors.classifier import Classifier

MORE_CLASSES = f"--model ffnet_1 for ImageNet's 1000 classes (downloads 55 MB), or {OWN_CLASSES}"


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
    out: str | None = None,
    engine: str | None = None,
    pictures: bool = False,
) -> None:
    """Classify images and folders of images.

    Args:
        model: a name from `metamixer models`, such as ffnet_1 for ImageNet's 1000 classes (downloads 55 MB); default:
            the packaged network, which knows 100 of them.
        checkpoint: a checkpoint of a training run, an exported file, or a published checkpoint, which needs --model.
        top: number of classes per image.
        overwrite: replace an existing file.
        batch_size: images per batch; with an engine always 16.
        out: with an engine, the folder of its results.
        all others: see shared_options.py.
    """
    from ..data.images.reading import find_images
    from ..predictors.classifier import Classifier
    from ..system.allocator import keep_freed_memory

    at_least("top", top, 1)
    at_least("batch_size", batch_size, 1)
    if out and not engine:
        raise InputError(f"out {out!r} without --engine, expected --json FILE for the result")
    load = {"source": checkpoint, "model": model, "device": device, "backend": backend}
    how = {"pictures": pictures, "max_pixels": max_pixels, "overwrite": overwrite, "refused": {"json": json}}
    if done_by_engine(engine, Classifier.task, images, out, load=load, options={"top": top}, **how):
        return
    keep_freed_memory()
    paths = each_once(find_images(images))
    output = Output(json, sources=[*paths, *([Path(checkpoint)] if checkpoint else [])], overwrite=overwrite)
    classifier = Classifier.load(checkpoint, model=model, device=device)
    if not checkpoint:
        output.introduce(model, classifier.task, classifier.classes)
    if backend:
        classifier.deploy(backend, batch_size=min(batch_size, len(paths)))
    results = []
    with bomb_guard(max_pixels), Batch(len(paths), {None: "the table", "-": "the output"}.get(json, json)) as batch:
        for path, found in classify(classifier, paths, batch, batch_size=batch_size):
            results.append({**found.to_dict(top), "image": origin(path)})
            lines = [path, *(f"  {probability:7.2%}  {name}" for name, probability in found.top(top))]
            output.say("\n".join(map(printable, lines)))
        if results:
            known = MORE_CLASSES if model is None else OWN_CLASSES
            then = known if not checkpoint else "" if backend else FASTER
            output.end(results, then=then)


def classify(
    classifier: "Classifier", paths: Sequence[Path], batch: Batch, *, batch_size: int
) -> Iterator[tuple[Path, "Classification"]]:
    """Each readable image with its result."""
    for part in classifier.batches(paths, batch_size):
        images = {}
        for path in part:
            with batch.file(path):
                images[path] = classifier.read(path)
        if images:
            yield from zip(images, classifier.results(images), strict=True)
