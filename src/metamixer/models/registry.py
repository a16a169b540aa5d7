"""Every network of the package by name."""

import difflib
from collections.abc import Callable
from functools import partial

import timm
from torch import nn

from ..errors import InputError

_BUILDERS: dict[str, Callable[..., nn.Module]] = {}
_TASKS: dict[str, str] = {}


def register(name: str, builder: Callable[..., nn.Module], *, task: str) -> None:
    """Make a network known by name; `builder` takes its keywords."""
    _BUILDERS[name] = builder
    _TASKS[name] = task


def register_timm(name: str) -> None:
    """Make an image network known that timm already knows."""
    register(name, partial(timm.create_model, name), task="classification")


def list_models(task: str | None = None) -> list[str]:
    """The names that `create_model` builds of this package, of all tasks or one; timm's own are not in the list."""
    return sorted(name for name in _BUILDERS if task in (None, _TASKS[name]))


def task_of(name: str) -> str:
    """The task of a network of this package; raises KeyError for another name."""
    return _TASKS[name]


def create_model(name: str, **kwargs) -> nn.Module:
    """Build a network by name, such as "ffnet_1" or timm's "convnext_atto"; keywords go to the network.

    Raises InputError with the nearest names for an unknown one.
    """
    base = name.split(".")[0]
    if base in _BUILDERS:
        return _BUILDERS[base](**kwargs) if base == name else timm.create_model(name, **kwargs)
    if timm.is_model(name):
        return timm.create_model(name, **kwargs)
    near = difflib.get_close_matches(name, list_models(), n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(list_models())}, or a timm name"
    raise InputError(f"model {name!r}: no such model; {hint}")
