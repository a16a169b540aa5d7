"""Groups of parameters for every optimizer: one rule of what decays, rates by layer, and states kept by name."""

import warnings
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from itertools import count
from types import SimpleNamespace
from typing import Any

from timm.models import group_parameters
from torch import Tensor, nn

from ...errors import InputWarning

Groups = list[dict[str, Any]]


def no_decay(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is exempt from weight decay: biases, norms and layer scales, one number a channel."""
    vector = parameter.ndim <= 1 or parameter.numel() == parameter.shape[0]  # layer scales are of shape (C, 1, 1)
    return vector or name.endswith(".bias")


def parameter_groups(
    network: nn.Module,
    rate: Callable[[str], float],
    weight_decay: float,
    *,
    exempt: Callable[[str, Tensor], bool] = no_decay,
) -> Groups:
    """Named parameters by learning rate and weight decay, in the order of the network; frozen ones are left out.

    rate: learning rate by a parameter's name; exempt: by name and parameter, whether it has no weight decay; what a
    timm network exempts by `no_weight_decay` is exempt too.
    """
    patterns = getattr(network, "no_weight_decay", set)()
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        kept = exempt(name, parameter) or any(fnmatch(name, f"*{pattern}") for pattern in patterns)
        key = rate(name), 0.0 if kept else weight_decay
        group = groups.setdefault(key, {"params": [], "lr": key[0], "weight_decay": key[1]})
        group["params"].append((name, parameter))
    return list(groups.values())


def layer_numbers(network: nn.Module, backbone: str, layers: int) -> dict[str, int]:
    """The layer of each parameter, by the published rule: 1 for the backbone's first stage to `layers` for its last.

    Three blocks of the third stage are a layer. The heads are layer `layers` + 1, and so is the stem: the authors' code
    knows it under another network's name. backbone: the path of a module that tells its stages by timm's
    `group_matcher`; without four of them all is of layer `layers` + 1, with a warning.
    """
    numbers = dict.fromkeys((name for name, _ in network.named_parameters()), layers + 1)
    module = dict(network.named_modules()).get(backbone)
    stages = block_numbers(module) if hasattr(module, "group_matcher") else {}
    if {stage for stage, _ in stages.values()} != {0, 1, 2, 3}:
        warnings.warn(
            f"optimization.layer_decay: {type(module or network).__name__} doesn't tell four stages, so that all "
            "layers "
            "learn at the rate of the heads; layer_decay null says so",
            InputWarning,
            stacklevel=4,
        )
        return numbers
    for name, (stage, block) in stages.items():
        # The first block includes the down-sampling, which the authors count as a block of its own.
        numbers[f"{backbone}.{name}"] = min((1, 2, 3 + (block + 1) // 3, layers)[stage], layers)
    return numbers


def block_numbers(network: nn.Module) -> dict[str, tuple[int, int]]:
    """Stage and block within it, both from 0, of each parameter of a network's stages, by timm's `group_matcher`."""
    rest = "\0"  # a name of no stage: what shares its number isn't in one either
    named = SimpleNamespace(named_parameters=lambda: [*network.named_parameters(), (rest, None)])
    stages, blocks = (
        group_parameters(named, network.group_matcher(coarse=coarse), reverse=True) for coarse in (True, False)
    )
    staged = [name for name in stages if 0 < stages[name] < stages[rest]]
    first: dict[int, int] = {}
    for name in staged:
        first[stages[name]] = min(first.get(stages[name], blocks[name]), blocks[name])
    return {name: (stages[name] - 1, blocks[name] - first[stages[name]]) for name in staged}


def names_of_groups(groups: Groups) -> list[list[str]]:
    """The parameters' names in each group."""
    return [[name for name, _ in group["params"]] for group in groups]


def regroup(checkpoint: dict[str, Any], before: list[list[str]], groups: Groups) -> None:
    """Bring an optimizer's and its schedule's state in a checkpoint, in place, into other groups of the same
    parameters.

    before: the parameters' names in the state's own groups. A new group takes its rates from the one of its first
    parameter.
    """
    for state in checkpoint["optimizer_states"]:
        old: dict[str, tuple[int, dict[str, Any]]] = {}
        for names, group in zip(before, state["param_groups"], strict=True):
            old |= {name: (number, group) for name, number in zip(names, group["params"], strict=True)}
        regrouped, states, numbers = [], {}, count()
        for names, group in zip(names_of_groups(groups), groups, strict=True):
            number = {name: next(numbers) for name in names}
            own = {"weight_decay": group["weight_decay"], "params": list(number.values()), "param_names": names}
            regrouped.append(old[names[0]][1] | own)
            states |= {number[name]: state["state"][old[name][0]] for name in names if old[name][0] in state["state"]}
        state["param_groups"], state["state"] = regrouped, states
        for schedule in checkpoint.get("lr_schedulers", ()):
            _match_schedule(schedule, regrouped)


def _match_schedule(schedule: dict[str, Any], groups: list[Mapping[str, Any]]) -> None:
    """A schedule's lists of a value a group, for these groups."""
    values = {
        "base_lrs": [group.get("initial_lr", group["lr"]) for group in groups],
        "_last_lr": [group["lr"] for group in groups],
        "lr_lambdas": [None] * len(groups),
    }
    schedule.update({key: value for key, value in values.items() if key in schedule})
