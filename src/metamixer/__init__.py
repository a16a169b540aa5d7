"""Query-key-value mixers and the FFNet family (arXiv 2406.02021)."""

import sys as _sys
import typing as _typing
from importlib import import_module as _import_module

from .errors import InputError as InputError
from .moved import ImportedAfter as _ImportedAfter
from .moved import MovedModules as _MovedModules

if _typing.TYPE_CHECKING:  # for type checkers and editors; a test compares it with the table below
    from .checkpoints.ours import load_checkpoint as load_checkpoint
    from .checkpoints.ours import save_checkpoint as save_checkpoint
    from .checkpoints.published import load_published as load_published
    from .deployment.fastest import deploy as deploy
    from .deployment.formats import load_exported as load_exported
    from .mixer import TOKEN_MIXERS as TOKEN_MIXERS
    from .mixer import MetaMixer as MetaMixer
    from .models import create_model as create_model
    from .models import list_models as list_models
    from .models import register as register
    from .ops.fusion import fuse as fuse
    from .predictors.classifier import Classifier as Classifier
    from .predictors.detector import Detector as Detector
    from .predictors.forecasting.forecaster import Forecaster as Forecaster
    from .predictors.loading import load as load
    from .predictors.own_data.training import train as train
    from .predictors.point_segmenter import PointSegmenter as PointSegmenter
    from .predictors.restorer import Restorer as Restorer
    from .predictors.segmenter import Segmenter as Segmenter
    from .predictors.upscaler import Upscaler as Upscaler

    __version__: str

_WHERE = {
    "load": "predictors.loading",
    "train": "predictors.own_data.training",
    "Classifier": "predictors.classifier",
    "Detector": "predictors.detector",
    "Segmenter": "predictors.segmenter",
    "PointSegmenter": "predictors.point_segmenter",
    "Upscaler": "predictors.upscaler",
    "Restorer": "predictors.restorer",
    "Forecaster": "predictors.forecasting.forecaster",
    "create_model": "models",
    "list_models": "models",
    "register": "models",
    "MetaMixer": "mixer",
    "TOKEN_MIXERS": "mixer",
    "fuse": "ops.fusion",
    "deploy": "deployment.fastest",
    "load_checkpoint": "checkpoints.ours",
    "save_checkpoint": "checkpoints.ours",
    "load_exported": "deployment.formats",
    "load_published": "checkpoints.published",
}
"""Public name -> its module, imported on first use to keep `import metamixer` fast."""

__all__ = ["InputError", "__version__", *_WHERE]

_sys.meta_path.insert(0, _ImportedAfter("timm", f"{__name__}.models"))
_sys.meta_path.append(_MovedModules())
if "timm" in _sys.modules:
    _import_module(".models", __name__)


if not _typing.TYPE_CHECKING:  # type checkers would take every name for known

    def __getattr__(name: str):
        if name == "__version__":
            return _import_module(".system.version", __name__).package_version()
        if name in _WHERE:
            return getattr(_import_module(f".{_WHERE[name]}", __name__), name)
        module = f"{__name__}.{name}"
        try:
            return _import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if not name.startswith("_"))})
