"""The package's networks by name, and their weights."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import timm
from torch import Tensor, nn

from ..errors import InputError, did_you_mean, first_line
from ..system.weight_files import read_published
from ..zoo.files import source_of
from ..zoo.networks import NETWORKS
from ..zoo.weights import WEIGHTS, Weights, find_weights
from .tasks import CLASSIFICATION, TaskSpec, task_row

_BUILDERS: dict[str, Callable[..., nn.Module]] = {}
_TASKS: dict[str, TaskSpec] = {}

EXPECTED_WEIGHTS = "expected one of `metamixer models` that has some, or pretrained false"


def add(name: str, builder: Callable[..., nn.Module], *, task: TaskSpec) -> None:
    """Add a network of this package; `builder` takes its keywords."""
    _BUILDERS[name] = builder
    _TASKS[name] = task


def register(name: str, builder: Callable[..., nn.Module], *, task: TaskSpec | str = CLASSIFICATION) -> None:
    """Register a network, so that `create_model`, trainings and checkpoints know its name.

    builder: takes the network's keywords; task: a row of `models.tasks.TASKS` or its name. Raises InputError for a name
    that timm or this package has; your own can be registered again.
    """
    if name in NETWORKS or timm.is_model(name) or "." in name:
        raise InputError(f"name {name!r}, expected one without a dot that neither timm nor metamixer has")
    add(name, builder, task=task_row(task, f"network {name!r}") if isinstance(task, str) else task)


def register_timm(name: str) -> None:
    """Add an image network of this package that timm already knows."""
    add(name, partial(timm.create_model, name), task=CLASSIFICATION)


def list_models(task: str | None = None) -> list[str]:
    """The names of this package's networks, of one task or all; timm's own are not listed."""
    return sorted(name for name in _BUILDERS if task in (None, _TASKS[name].name))


def task_of(name: str) -> TaskSpec:
    """The task of a network of this package, or a registered one; raises KeyError for other names."""
    return _TASKS[name]


def create_model(name: str, *, pretrained: bool = False, **kwargs) -> nn.Module:
    """Build a network by name, such as "ffnet_1" or timm's "convnext_atto"; keywords go to the network.

    pretrained: load the weights of this name (`metamixer models` lists them); with a different `num_classes`, the last
    layers are new. Raises InputError for an unknown name or tag, for a network without weights, and if the download
    fails.
    """
    base, dot, _ = name.partition(".")
    weights = next((weights for weights in WEIGHTS if weights.name == name), None)
    known = weights.network if weights else base
    if known not in _BUILDERS and not timm.is_model(known):
        raise InputError(f"model {name!r}: no such model{_similar(base)}")
    if dot and name not in (tags := timm.list_models(base, include_tags=True) or [base]):
        raise InputError(f"model {name!r}: no such weights, expected {' or '.join(tags)}")
    if kwargs.get("mixers") is not None and known not in _BUILDERS:
        raise InputError(
            f"mixers {kwargs['mixers']!r}, expected none for {name}: only this package's networks take them"
        )
    if timm.is_model(base):
        return _built(name, partial(timm.create_model, name), pretrained=pretrained, **kwargs)
    if weights:
        kwargs = {**weights.arguments, **kwargs}
    if not pretrained:
        return _BUILDERS[known](**kwargs)
    weights = find_weights(name, **kwargs)
    if weights is None:  # some builders fetch weights themselves
        return _built(name, _BUILDERS[known], pretrained=True, **kwargs)
    return _with_weights(_BUILDERS[known], weights, kwargs)


def _built(name: str, builder: Callable[..., nn.Module], **kwargs) -> nn.Module:
    """Build a network; raises InputError if the builder can't provide the requested weights."""
    try:
        return builder(**kwargs)
    except OSError as error:
        raise InputError(
            f"model {name!r}: its weights can't be downloaded ({first_line(error)}); "
            "download them yourself and load the file"
        ) from None
    except TypeError as error:
        if "'pretrained'" not in str(error):
            raise
        raise InputError(f"model {name!r}: no weights are published, {EXPECTED_WEIGHTS}") from None


def _with_weights(builder: Callable[..., nn.Module], weights: Weights, kwargs: Mapping[str, Any]) -> nn.Module:
    """A network that isn't timm's, with these weights; for other numbers of classes the last layers are new."""
    kwargs = {**weights.arguments, **kwargs}
    known = {} if weights.classes is None else {"num_classes": weights.classes}
    network = builder(**{**known, **kwargs})
    same = kwargs.get("num_classes", weights.classes) == weights.classes
    trained = network if same else builder(**{**kwargs, **known})
    load_state(trained, read_published(source_of(weights)))
    if trained is not network:
        network.load_state_dict(with_own_classifier(network, trained.state_dict()))
    return network


def with_own_classifier(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with the network's own last layers, if it has any, in place of those that it holds.

    Raises InputError for a network that doesn't say which they are.
    """
    named, own = expect_classifier_named(network)["classifier"], network.state_dict()
    layers = tuple(f"{layer}." for layer in ([named] if isinstance(named, str) else named))
    body = {key: value for key, value in state.items() if not key.startswith(layers)}
    return {**body, **{key: value for key, value in own.items() if key.startswith(layers)}}


def expect_classifier_named(network: nn.Module) -> dict[str, Any]:
    """The `pretrained_cfg` of a network; raises InputError unless it names the network and its last layers."""
    described = getattr(network, "pretrained_cfg", None) or {}
    if not all(described.get(key) for key in ("architecture", "classifier")):
        raise InputError(
            f"new_classifier True: {type(network).__name__} doesn't say which layer that is, expected a "
            'pretrained_cfg {"architecture": its name, "classifier": its last layer}'
        )
    return described


def load_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state dict with published names or ours; all keys must match."""
    convert = getattr(network, "convert_published", None)
    network.load_state_dict(convert(state) if convert else state)


def expect_classifier(name: str) -> None:
    """Raise InputError for a network of this package for another task."""
    task = _TASKS.get(name, CLASSIFICATION)
    if task is not CLASSIFICATION:
        raise InputError(f"model {name!r}: its task is {task.name}, expected an image classifier")


def _similar(name: str) -> str:
    similar = did_you_mean(name, {*list_models(), *timm.list_models()}, most=3)
    return similar or "; expected a name that `metamixer models` lists, or timm's"
