"""Old paths of modules that moved since 0.1.0; they still import, with a warning."""

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

MOVED = {
    "metamixer.detector": "metamixer.predictors.detector",
    "metamixer.files": "metamixer.system.files",
    "metamixer.forecaster": "metamixer.predictors.forecaster",
    "metamixer.packaged": "metamixer.checkpoints.packaged",
    "metamixer.point_segmenter": "metamixer.predictors.point_segmenter",
    "metamixer.quality": "metamixer.data.super_resolution.quality",
    "metamixer.resizing": "metamixer.data.super_resolution.resizing",
    "metamixer.segmenter": "metamixer.predictors.segmenter",
    "metamixer.series": "metamixer.ops.series",
    "metamixer.spandrel_architecture": "metamixer.checkpoints.spandrel",
    "metamixer.sparse": "metamixer.ops.sparse",
    "metamixer.sparse_layers": "metamixer.ops.voxels",
}


class MovedModules(MetaPathFinder, Loader):
    """Import a module by its old path, after every other finder has failed."""

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module) -> None:
        old = module.__name__
        warnings.warn(f"{old} is {MOVED[old]} now", DeprecationWarning, stacklevel=2)
        sys.modules[old] = import_module(MOVED[old])
