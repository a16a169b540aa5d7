"""Data modules, one file per kind of data; independent of the networks."""

import typing as _typing
from importlib import import_module as _import_module

if _typing.TYPE_CHECKING:  # for type checkers and editors; a test compares it with the table below
    from .detection.coco import CocoData as CocoData
    from .detection.transforms import DetectionAugmentation as DetectionAugmentation
    from .detection.transforms import DetectionPreprocessing as DetectionPreprocessing
    from .images.corrupted import CorruptedImageData as CorruptedImageData
    from .images.distillation import DistillationData as DistillationData
    from .images.distillation import UnlabelledDistillationData as UnlabelledDistillationData
    from .images.labelled import DigitsData as DigitsData
    from .images.labelled import ImageData as ImageData
    from .images.views import Views as Views
    from .points.augmentation import PointAugmentation as PointAugmentation
    from .points.benchmarks import S3DISData as S3DISData
    from .points.benchmarks import ScanNetData as ScanNetData
    from .points.benchmarks import SemanticKITTIData as SemanticKITTIData
    from .points.scenes import CloudData as CloudData
    from .points.voxelization import PointPreprocessing as PointPreprocessing
    from .preprocessing import Augmentation as Augmentation
    from .preprocessing import Preprocessing as Preprocessing
    from .restoration.pairs import RestorationData as RestorationData
    from .segmentation.pixels import SegmentationData as SegmentationData
    from .segmentation.transforms import SegmentationAugmentation as SegmentationAugmentation
    from .segmentation.transforms import SegmentationPreprocessing as SegmentationPreprocessing
    from .series.series_data import SeriesData as SeriesData
    from .super_resolution.pairs import SuperResolutionData as SuperResolutionData

_MODULES = {
    "Augmentation": "preprocessing",
    "CloudData": "points.scenes",
    "CocoData": "detection.coco",
    "CorruptedImageData": "images.corrupted",
    "DetectionAugmentation": "detection.transforms",
    "DetectionPreprocessing": "detection.transforms",
    "DigitsData": "images.labelled",
    "DistillationData": "images.distillation",
    "ImageData": "images.labelled",
    "PointAugmentation": "points.augmentation",
    "PointPreprocessing": "points.voxelization",
    "Preprocessing": "preprocessing",
    "RestorationData": "restoration.pairs",
    "S3DISData": "points.benchmarks",
    "ScanNetData": "points.benchmarks",
    "SegmentationAugmentation": "segmentation.transforms",
    "SegmentationData": "segmentation.pixels",
    "SegmentationPreprocessing": "segmentation.transforms",
    "SemanticKITTIData": "points.benchmarks",
    "SeriesData": "series.series_data",
    "SuperResolutionData": "super_resolution.pairs",
    "UnlabelledDistillationData": "images.distillation",
    "Views": "images.views",
}
"""Class -> its module, imported on first access: data modules import Lightning, which reading an image doesn't need.
"""


if not _typing.TYPE_CHECKING:  # type checkers would take every name for known

    def __getattr__(name: str):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(_import_module(f".{_MODULES[name]}", __name__), name)


def import_all() -> None:
    """Import every class, so that a recipe can name it without a path."""
    for module in _MODULES.values():
        _import_module(f".{module}", __name__)
