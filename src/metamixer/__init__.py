"""Query-key-value mixers and the FFNet family (arXiv 2406.02021)."""

from importlib import import_module as _import_module

from .checkpoints.ours import load_checkpoint as load_checkpoint
from .checkpoints.published import load_published as load_published
from .deployment.fastest import deploy as deploy
from .deployment.formats import load_exported as load_exported
from .errors import InputError as InputError
from .mixer import TOKEN_MIXERS as TOKEN_MIXERS
from .mixer import MetaMixer as MetaMixer
from .models import create_model as create_model
from .models import list_models as list_models
from .ops.fusion import fuse as fuse

_ON_USE = {
    "Classifier": "classifier",
    "Detector": "detector",
    "Forecaster": "forecaster",
    "PointSegmenter": "point_segmenter",
    "Segmenter": "segmenter",
    "Upscaler": "upscaler",
}
"""What users call by hand -> its module, imported when it is asked for: these bring more libraries than the networks need."""


def __getattr__(name: str):
    if name not in _ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_import_module(f".predictors.{_ON_USE[name]}", __name__), name)
