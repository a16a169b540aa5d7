"""Import hooks: paths of 0.1.0 that moved still import, with a warning; timm gets our networks."""

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import Any

MOVED = {
    "metamixer.allocator": "metamixer.system.allocator",
    "metamixer.analysis": "metamixer.training.run_sheet",
    "metamixer.autocast": "metamixer.system.device",
    "metamixer.backtest": "metamixer.predictors.forecasting.backtest",
    "metamixer.bench_report": "metamixer.bench.report",
    "metamixer.complexity": "metamixer.bench.complexity",
    "metamixer.data.cloud_description": "metamixer.data.points.description",
    "metamixer.data.cloud_units": "metamixer.data.points.units",
    "metamixer.data.clouds": "metamixer.data.points.clouds",
    "metamixer.data.coco": "metamixer.data.detection.coco",
    "metamixer.data.coco_faults": "metamixer.data.detection.coco_faults",
    "metamixer.data.coco_json": "metamixer.data.detection.coco_json",
    "metamixer.data.corrupted": "metamixer.data.images.corrupted",
    "metamixer.data.detection_transforms": "metamixer.data.detection.transforms",
    "metamixer.data.frames": "metamixer.data.series.frames",
    "metamixer.data.frequency": "metamixer.data.series.frequency",
    "metamixer.data.label_maps": "metamixer.data.segmentation.label_maps",
    "metamixer.data.missing": "metamixer.data.series.missing",
    "metamixer.data.ply": "metamixer.data.points.ply",
    "metamixer.data.point_augmentation": "metamixer.data.points.augmentation",
    "metamixer.data.point_sets": "metamixer.data.points.benchmarks",
    "metamixer.data.segmentation_transforms": "metamixer.data.segmentation.transforms",
    "metamixer.data.splits": "metamixer.data.images.splits",
    "metamixer.data.tables": "metamixer.data.series.tables",
    "metamixer.data.voxelization": "metamixer.data.points.voxelization",
    "metamixer.data.windows": "metamixer.data.series.series_data",
    "metamixer.decoding": "metamixer.data.images.decoding",
    "metamixer.detector": "metamixer.predictors.detector",
    "metamixer.embedded_trainer": "metamixer.training.embedded",
    "metamixer.figures": "metamixer.drawing.figures",
    "metamixer.files": "metamixer.system.files",
    "metamixer.forecast_plot": "metamixer.predictors.forecasting.plot",
    "metamixer.forecaster": "metamixer.predictors.forecasting.forecaster",
    "metamixer.fusion": "metamixer.ops.fusion",
    "metamixer.intervals": "metamixer.predictors.forecasting.intervals",
    "metamixer.machine": "metamixer.system.machine",
    "metamixer.models.backbones": "metamixer.models.ffnet.backbones",
    "metamixer.models.ffnet_ts_mixers": "metamixer.models.ffnet_ts.mixers",
    "metamixer.models.ffnet_ts_parts": "metamixer.models.ffnet_ts.parts",
    "metamixer.models.ffnet_ts_published": "metamixer.models.ffnet_ts.published_names",
    "metamixer.models.parts": "metamixer.models.ffnet.parts",
    "metamixer.models.pretrained": "metamixer.models.ffnet.pretrained",
    "metamixer.models.published_accuracy": "metamixer.bench.accuracy",
    "metamixer.models.segmentation_heads": "metamixer.models.segmentation.heads",
    "metamixer.orientation": "metamixer.data.images.orientation",
    "metamixer.packaged": "metamixer.checkpoints.packaged",
    "metamixer.picture_files": "metamixer.data.images.lossless",
    "metamixer.point_picture": "metamixer.drawing.clouds",
    "metamixer.point_segmenter": "metamixer.predictors.point_segmenter",
    "metamixer.prediction": "metamixer.predictors.classifier",
    "metamixer.published": "metamixer.checkpoints.published",
    "metamixer.quality": "metamixer.data.super_resolution.quality",
    "metamixer.resizing": "metamixer.data.super_resolution.resizing",
    "metamixer.run_folder": "metamixer.training.run_folder",
    "metamixer.predictors.fine_tuning": "metamixer.predictors.forecasting.fine_tuning",
    "metamixer.predictors.forecaster": "metamixer.predictors.forecasting.forecaster",
    "metamixer.segmenter": "metamixer.predictors.segmenter",
    "metamixer.series": "metamixer.ops.series",
    "metamixer.sliding": "metamixer.inference.sliding",
    "metamixer.spandrel_architecture": "metamixer.checkpoints.spandrel",
    "metamixer.sparse": "metamixer.ops.sparse",
    "metamixer.sparse_layers": "metamixer.ops.voxels",
    "metamixer.tasks.class_subset": "metamixer.data.images.class_names",
    "metamixer.tasks.detection_optimization": "metamixer.tasks.optimization.detection",
    "metamixer.tasks.point_optimization": "metamixer.tasks.optimization.points",
    "metamixer.tasks.segmentation_optimization": "metamixer.tasks.optimization.segmentation",
    "metamixer.upscaling": "metamixer.predictors.upscaler",
}
"""Module of 0.1.0 -> its current path."""

MOVED_NAMES = {
    "metamixer.bench": {"protocol": "Entry Result choose_forms left_out own_sizes run_bench time_networks"},
    "metamixer.checkpoints": {
        "ours": "expect_task expect_training_checkpoint load_checkpoint load_initial network_info save_network"
    },
    "metamixer.data.images": {
        "labelled": "Digits DigitsData ImageData",
        "reading": "LabelledImages images_below read_dataset read_image",
    },
    "metamixer.data.points": {"scenes": "CloudData TrainingClouds WholeClouds collate_voxels number_labels"},
    "metamixer.data.segmentation": {"pixels": "LabelledPixels SegmentationData pair_files read_colour_image"},
    "metamixer.data.super_resolution": {
        "pairs": "ImagePairs Patches SuperResolutionData find_small_files mirrored_up_to read_pixels"
    },
    "metamixer.ops.sparse": {"submanifold": "pool_max submanifold_convolution unpool"},
    "metamixer.predictors.classifier": {"metamixer.data.images.reading": "find_images"},
    "metamixer.tasks.optimization": {"recipe": "Optimization"},
    "metamixer.training": {
        "command_line": "TrainingCLI run use_fast_settings",
        "horizon": "expand_horizon in_two_words read_yaml",
    },
}
"""Current module or package -> new module (a sibling, or a full path) -> names that 0.1.0 had in the old one."""


class MovedModules(MetaPathFinder, Loader):
    """Finds a module by its old path, after every other finder, and puts the module itself there."""

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module) -> None:
        old = module.__name__
        warnings.warn(f"{old} is {MOVED[old]} now", DeprecationWarning, stacklevel=2)
        sys.modules[old] = import_module(MOVED[old])


def find_moved_names(module: str) -> None:
    """Give a module a `__getattr__` that finds the names that 0.1.0 had in it.

    Type checkers would take every name of a module that defines `__getattr__` for known.
    """
    beside = module if hasattr(sys.modules[module], "__path__") else module.rpartition(".")[0]
    now = {
        name: place if place.startswith("metamixer.") else f"{beside}.{place}"
        for place, names in MOVED_NAMES[module].items()
        for name in names.split()
    }

    def find(name: str) -> Any:
        if name not in now:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(f"{module}.{name} is {now[name]}.{name} now", DeprecationWarning, stacklevel=2)
        return getattr(import_module(now[name]), name)

    vars(sys.modules[module])["__getattr__"] = find


class ImportedAfter(MetaPathFinder):
    """Imports a module of ours right after a library, so that timm gets our networks even if imported later."""

    def __init__(self, library: str, ours: str):
        self.library = library
        self.ours = ours

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        if fullname != self.library:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_both(module) -> None:
                execute(module)
                import_module(self.ours)

            spec.loader.exec_module = execute_both
        return spec
