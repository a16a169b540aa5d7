"""Import hooks: old paths of modules that moved since 0.1.0 still import, with a warning; timm gets our networks."""

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

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
"""Modules that the pages and the example of 0.1.0 name -> where they stand now."""


class MovedModules(MetaPathFinder, Loader):
    """Import a module by its old path, after every other finder has failed."""

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module) -> None:
        old = module.__name__
        warnings.warn(f"{old} is {MOVED[old]} now", DeprecationWarning, stacklevel=2)
        sys.modules[old] = import_module(MOVED[old])


class ImportedAfter(MetaPathFinder):
    """Imports a module of ours right after a library, whoever imports that: so timm knows our networks, and `import
    metamixer` needs no timm.
    """

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
