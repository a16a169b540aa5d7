"""Query-key-value mixers and the FFNet family (arXiv 2406.02021)."""

import sys as _sys
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
from .models.tasks import TASKS as _TASKS
from .moved import MOVED as _MOVED
from .moved import MovedModules as _MovedModules
from .ops.fusion import fuse as fuse

_sys.meta_path.append(_MovedModules())

_PREDICTORS = dict(reversed(_task.predictor.split(".")) for _task in _TASKS.values())
"""Predictor -> its module, imported on first access, because predictors need more libraries than the networks."""


def __getattr__(name: str):
    if f"{__name__}.{name}" in _MOVED:
        return _import_module(f".{name}", __name__)
    if name not in _PREDICTORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_import_module(f".predictors.{_PREDICTORS[name]}", __name__), name)
