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

from ..data.images.lossless import check_side, write_picture_file
from ..data.images.reading import IMAGE_SUFFIXES
from ..data.points.clouds import READERS
from ..models.tasks import CLASSIFICATION, DETECTION, POINTS, RESTORATION, SEGMENTATION, SUPER_RESOLUTION
from ..predictors.classifier import Classifier
from ..predictors.detector import Detector
from ..predictors.image_to_image import ImageToImage
from ..predictors.point_segmenter import PointSegmenter
from ..predictors.results import Result
from ..predictors.segmenter import Segmenter

TEXT, WHOLE, REAL = pyarrow.string(), pyarrow.int64(), pyarrow.float64()
PICTURE_FILE = {"width": WHOLE, "height": WHOLE, "format": TEXT, "image": pyarrow.large_binary()}
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
    """A predictor's result, and the values of its columns."""

    result: Result
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Output:
    """Of a task: the columns, how they are filled, and the files that are its inputs.

    predict: (predictor, paths, options) -> a prediction of each path; raises InputError if one of them can't be used.
    """

    columns: Mapping[str, pyarrow.DataType]
    predict: Callable[..., list[Prediction]]
    suffixes: Sequence[str] = field(default=IMAGE_SUFFIXES)


def classified(classifier: Classifier, paths: Sequence[Path], *, top: int) -> list[Prediction]:
    """The likeliest classes of each image, in one batch."""
    return [Prediction(found, {"classes": found.to_dict(top)["classes"]}) for found in classifier(list(paths))]


def detected(detector: Detector, paths: Sequence[Path], **options: Any) -> list[Prediction]:
    """Objects as in COCO's result files."""
    return [Prediction(found, {"objects": found.entries()}) for found in detector(list(paths), **options)]


def segmented(
    segmenter: Segmenter, paths: Sequence[Path], *, window: int | None, stride: int | None, **options: Any
) -> list[Prediction]:
    """Labels as a palette PNG, and the classes' areas."""
    if window or stride:
        segmenter.use_windows(window or segmenter.preprocessing.window, stride)
    predictions = []
    for found in segmenter(list(paths), **options):
        height, width = found.shape
        values = {"width": width, "height": height, "classes": areas(found.areas()), "labels": png(found.label_image())}
        predictions.append(Prediction(found, values))
    return predictions


def rewritten(predictor: ImageToImage, paths: Sequence[Path]) -> list[Prediction]:
    """Upscaled or restored images as files of their own format."""
    predictions = []
    for path in paths:
        found = predictor(path)
        width, height = found.size
        check_side(found.file, path, scale=1)
        with TemporaryDirectory() as folder:
            file = Path(folder, "result")
            write_picture_file(found.file, file)
            values = {"width": width, "height": height, "format": found.file.format, "image": file.read_bytes()}
        predictions.append(Prediction(found, values))
    return predictions


def labeled(segmenter: PointSegmenter, paths: Sequence[Path], **options: Any) -> list[Prediction]:
    """The class of every point, and how often each occurs."""
    return [
        Prediction(
            found, {"points": len(found), "classes": areas(found.counts()), "labels": np.asarray(found, dtype=np.int32)}
        )
        for found in (segmenter(path, **options) for path in paths)
    ]


def areas(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """How often each class occurs, the commonest first."""
    total = sum(counts.values())
    return [{"name": name, "count": count, "fraction": count / total} for name, count in counts.items()]


def png(image: Image.Image) -> bytes:
    """An image as the content of a PNG file."""
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
    SUPER_RESOLUTION.name: Output(PICTURE_FILE, rewritten),
    RESTORATION.name: Output(PICTURE_FILE, rewritten),
    POINTS.name: Output(
        {"points": WHOLE, "classes": AREAS, "labels": pyarrow.large_list(pyarrow.int32())},
        labeled,
        [kind for kind in READERS if kind[0] == "."],
    ),
}
"""By the names of the tasks; forecasts are tables of their own (`series.py`)."""
