"""What a row of results holds, task by task."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow
from PIL import Image

from ..data.images.reading import IMAGE_SUFFIXES
from ..data.points.clouds import READERS
from ..models.tasks import CLASSIFICATION, DETECTION, POINTS, SEGMENTATION, SUPER_RESOLUTION

TEXT, WHOLE, REAL = pyarrow.string(), pyarrow.int64(), pyarrow.float64()
AREAS = pyarrow.list_(pyarrow.struct({"name": TEXT, "count": WHOLE, "fraction": REAL}))
OBJECTS = pyarrow.list_(
    pyarrow.struct(
        {
            "category_id": WHOLE,
            "category": TEXT,
            "bbox": pyarrow.list_(REAL),
            "score": REAL,
            "segmentation": pyarrow.struct({"size": pyarrow.list_(WHOLE), "counts": TEXT}),
        }
    )
)


@dataclass(frozen=True)
class Prediction:
    """values: by the names of the columns; draw: makes a picture of it."""

    values: Mapping[str, Any]
    draw: Callable[[], Image.Image]


@dataclass(frozen=True)
class Output:
    """Of a task: the columns, how they are filled, and the files that are its inputs.

    predict: (predictor, paths, options) -> a prediction of each path; raises InputError where one of them can't be
    used.
    """

    columns: Mapping[str, pyarrow.DataType]
    predict: Callable[..., list[Prediction]]
    suffixes: Sequence[str] = field(default=IMAGE_SUFFIXES)


def classified(classifier: Any, paths: Sequence[Path], *, top: int) -> list[Prediction]:
    likeliest = classifier.top(list(paths), top, batch_size=len(paths))
    return [
        Prediction(
            {"classes": [{"name": name, "probability": probability} for name, probability in classes]},
            lambda path=path: Image.open(path).convert("RGB"),
        )
        for path, classes in zip(paths, likeliest, strict=True)
    ]


def detected(detector: Any, paths: Sequence[Path], **options: Any) -> list[Prediction]:
    found = [detector(path, **options) for path in paths]
    return [
        Prediction(
            {"objects": detector.results(objects)}, lambda path=path, objects=objects: detector.draw(path, objects)
        )
        for path, objects in zip(paths, found, strict=True)
    ]


def segmented(
    segmenter: Any, paths: Sequence[Path], *, window: int | None, stride: int | None, **options: Any
) -> list[Prediction]:
    from ..data.segmentation.label_maps import paint

    if window or stride:
        segmenter.use_windows(window or segmenter.preprocessing.window, stride)
    label_maps = [segmenter(path, **options) for path in paths]
    return [
        Prediction(
            {
                "width": labels.shape[1],
                "height": labels.shape[0],
                "classes": areas(segmenter.areas(labels)),
                "labels": png(paint(labels, segmenter.colours)),
            },
            lambda path=path, labels=labels: segmenter.draw(path, labels),
        )
        for path, labels in zip(paths, label_maps, strict=True)
    ]


def upscaled(upscaler: Any, paths: Sequence[Path]) -> list[Prediction]:
    return [_upscaled(upscaler, path) for path in paths]


def _upscaled(upscaler: Any, path: Path) -> Prediction:
    from ..data.images.lossless import check_side, read_picture, write_picture_file
    from ..predictors.upscaler import enlarge_alpha

    picture = read_picture(path)
    check_side(picture, path, scale=upscaler.scale)
    alpha = None if picture.alpha is None else enlarge_alpha(picture.alpha, upscaler.scale)
    enlarged = picture.with_pixels(upscaler.enlarge(picture.colour), alpha)
    with TemporaryDirectory() as folder:
        file = Path(folder, "enlarged")
        write_picture_file(enlarged, file)
        content = file.read_bytes()
    height, width = enlarged.colour.shape[:2]
    return Prediction({"width": width, "height": height, "format": enlarged.format, "image": content}, enlarged.preview)


def labelled(segmenter: Any, paths: Sequence[Path], **options: Any) -> list[Prediction]:
    from ..data.points.clouds import read_cloud
    from ..drawing.clouds import draw_cloud

    predictions = []
    for path in paths:
        labels = segmenter(path, **options)
        counts = np.bincount(labels, minlength=len(segmenter.classes))
        names = {segmenter.classes[i]: int(counts[i]) for i in np.argsort(-counts, kind="stable") if counts[i]}
        predictions.append(
            Prediction(
                {"points": len(labels), "classes": areas(names), "labels": labels.astype(np.int32)},
                lambda path=path, labels=labels: draw_cloud(read_cloud(path).coordinates, labels, segmenter.classes),
            )
        )
    return predictions


def areas(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """How often each class occurs."""
    total = sum(counts.values())
    return [{"name": name, "count": count, "fraction": count / total} for name, count in counts.items()]


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


OUTPUTS: dict[str, Output] = {
    CLASSIFICATION.name: Output(
        {"classes": pyarrow.list_(pyarrow.struct({"name": TEXT, "probability": REAL}))}, classified
    ),
    DETECTION.name: Output({"objects": OBJECTS}, detected),
    SEGMENTATION.name: Output(
        {"width": WHOLE, "height": WHOLE, "classes": AREAS, "labels": pyarrow.large_binary()}, segmented
    ),
    SUPER_RESOLUTION.name: Output(
        {"width": WHOLE, "height": WHOLE, "format": TEXT, "image": pyarrow.large_binary()}, upscaled
    ),
    POINTS.name: Output(
        {"points": WHOLE, "classes": AREAS, "labels": pyarrow.large_list(pyarrow.int32())},
        labelled,
        [kind for kind in READERS if kind[0] == "."],
    ),
}
"""By the names of the tasks; forecasts are tables of their own (`series.py`)."""
