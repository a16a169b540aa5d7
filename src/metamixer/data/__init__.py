"""Data modules, one file per kind of data; independent of the networks."""

from importlib import import_module as _import_module

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


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_import_module(f".{_MODULES[name]}", __name__), name)


def import_all() -> None:
    """Import every class, so that a recipe can name it without a path."""
    for name in _MODULES:
        __getattr__(name)
