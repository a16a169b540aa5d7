"""The package's networks by name."""

import difflib
from collections.abc import Callable
from functools import partial

import timm
from torch import nn

from ..errors import InputError, first_line
from .tasks import CLASSIFICATION, TaskSpec

_BUILDERS: dict[str, Callable[..., nn.Module]] = {}
_TASKS: dict[str, TaskSpec] = {}


def register(name: str, builder: Callable[..., nn.Module], *, task: TaskSpec) -> None:
    """Register a network; `builder` takes its keywords."""
    _BUILDERS[name] = builder
    _TASKS[name] = task


def register_timm(name: str) -> None:
    """Register an image network that timm already knows."""
    register(name, partial(timm.create_model, name), task=CLASSIFICATION)


def list_models(task: str | None = None) -> list[str]:
    """The names of this package's networks, of one task or all; timm's own are not listed."""
    return sorted(name for name in _BUILDERS if task in (None, _TASKS[name].name))


def task_of(name: str) -> TaskSpec:
    """The task of a network of this package; raises KeyError for other names."""
    return _TASKS[name]


def create_model(name: str, **kwargs) -> nn.Module:
    """Build a network by name, such as "ffnet_1" or timm's "convnext_atto"; keywords go to the network.

    Raises InputError for an unknown name (with the nearest ones) or tag, and if weights can't be downloaded.
    """
    base, dot, _ = name.partition(".")
    if base not in _BUILDERS and not timm.is_model(base):
        raise InputError(f"model {name!r}: no such model; {_nearest(base)}")
    if dot and name not in (known := timm.list_models(base, include_tags=True) or [base]):
        raise InputError(f"model {name!r}: no such weights, expected {' or '.join(known)}")
    if kwargs.get("mixers") is not None and base not in _BUILDERS:
        raise InputError(
            f"mixers {kwargs['mixers']!r}, expected none for {name}: only this package's networks take them"
        )
    builder = _BUILDERS.get(name) or partial(timm.create_model, name)
    try:
        return builder(**kwargs)
    except OSError as error:
        raise InputError(
            f"model {name!r}: its weights can't be fetched ({first_line(error)}), "
            "expected a connection, or a file of them"
        ) from None


def expect_classifier(name: str) -> None:
    """Raise InputError for a network of this package for another task."""
    task = _TASKS.get(name, CLASSIFICATION)
    if task is not CLASSIFICATION:
        raise InputError(
            f"model {name!r}: its task is {task.name}, expected an image classifier, or a checkpoint of `fit`"
        )


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, {*list_models(), *timm.list_models()}, n=3)
    return (
        f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(list_models())}, or a timm name"
    )
