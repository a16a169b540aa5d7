"""Parameter groups for every optimizer: one rule for weight decay, rates by layer, states matched by name."""

import warnings
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from itertools import count
from types import SimpleNamespace
from typing import Any

from timm.models import group_parameters
from torch import Tensor, nn

from ...errors import InputError, InputWarning

Groups = list[dict[str, Any]]


def no_decay(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is exempt from weight decay: biases, norms and layer scales (one number per channel)."""
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

    rate: learning rate of a parameter name; exempt: whether a parameter has no weight decay; those in the network's
    `no_weight_decay` (timm) have none either.
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
    """The layer of each parameter by the published rule: 1 for the backbone's first stage, `layers` for its last.

    Three blocks of the third stage make a layer. The heads are layer `layers` + 1, and so is the stem, whose name the
    authors' code doesn't match. backbone: path of a module with timm's `group_matcher`; unless it has four stages,
    every parameter is in layer `layers` + 1, with a warning.
    """
    numbers = dict.fromkeys((name for name, _ in network.named_parameters()), layers + 1)
    module = dict(network.named_modules()).get(backbone)
    stages = block_numbers(module) if hasattr(module, "group_matcher") else {}
    if {stage for stage, _ in stages.values()} != {0, 1, 2, 3}:
        warnings.warn(
            f"optimization.layer_decay: {type(module or network).__name__} has no group_matcher with four stages, "
            "so all layers train at the rate of the heads; set layer_decay to null to silence this warning",
            InputWarning,
            stacklevel=4,
        )
        return numbers
    for name, (stage, block) in stages.items():
        # The first block includes the downsampling, which the authors count as a separate block.
        numbers[f"{backbone}.{name}"] = min((1, 2, 3 + (block + 1) // 3, layers)[stage], layers)
    return numbers


def block_numbers(network: nn.Module) -> dict[str, tuple[int, int]]:
    """Stage and block within the stage, from 0, of each parameter in a stage, by timm's `group_matcher`."""
    rest = "\0"  # a name outside all stages: parameters with its number are outside too
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
    """The parameter names in each group."""
    return [[name for name, _ in group["params"]] for group in groups]


def regroup(checkpoint: dict[str, Any], before: list[list[str]], groups: Groups) -> None:
    """Rearrange the optimizer and schedule states of a checkpoint, in place, into other groups of the same parameters.

    before: parameter names of the checkpoint's groups. A new group takes its rates from the old group of its first
    parameter. Raises InputError that names a parameter in none of them.
    """
    known = {name for names in before for name in names}
    new = next((name for names in names_of_groups(groups) for name in names if name not in known), None)
    if new is not None:
        raise InputError(
            f"parameter {new}: frozen or absent in the run to resume, expected the same layers to learn; to train "
            "others, start a new run from its checkpoint with --model.initial"
        )
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
    """Set the per-group lists of a schedule's state to the values of these groups."""
    values = {
        "base_lrs": [group.get("initial_lr", group["lr"]) for group in groups],
        "_last_lr": [group["lr"] for group in groups],
        "lr_lambdas": [None] * len(groups),
    }
    schedule.update({key: value for key, value in values.items() if key in schedule})
