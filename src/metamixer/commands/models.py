"""metamixer models"""

import timm
import torch
from torch import nn

from ..bench.complexity import measure
from ..errors import InputError
from ..models import create_model, list_models
from ..models.tasks import TASKS, Paper
from ..ops.fusion import fuse


def models() -> None:
    """List the networks: parameters and multiply-accumulates in deploy form, and the paper's accuracies."""
    for task in TASKS.values():
        paper = task.paper
        print(_row(paper.heading, "params", *(("MACs", "pixels") if paper.pixels else ("", "")), paper.column))
        for name in list_models(task.name):
            try:
                network = _deploy_form(name)
            except InputError as error:  # the U-Net and UPerNet need an extra
                print(f"{name:28s} {error}")
                continue
            for tag in timm.list_models(name, include_tags=True) or [name]:
                print(_row(tag, *_complexity(network, tag, paper), _accuracy(tag, paper)))


def _deploy_form(name: str) -> nn.Module:
    """A network with default settings, on the meta device."""
    with torch.device("meta"):
        return fuse(create_model(name))


def _complexity(network: nn.Module, tag: str, paper: Paper) -> tuple[str, str, str]:
    """Parameters and, for image networks, multiply-accumulates and the size of the image."""
    if paper.pixels is None:
        return _millions(sum(parameter.numel() for parameter in network.parameters())), "", ""
    height, width = paper.pixels(tag)
    complexity = measure(network, torch.empty(1, 3, height, width, device="meta"))
    pixels = str(width) if height == width else f"{height}x{width}"
    return _millions(complexity.params), f"{complexity.macs / 1e9:.2f} G", pixels


def _accuracy(tag: str, paper: Paper) -> str:
    """The paper's figure; otherwise "not stated" for the authors' weights and "ours" for other networks."""
    published = "." in tag and not tag.endswith(".untrained")
    return paper.figures.get(tag, "not stated" if published else "ours")


def _row(name: str, params: str, macs: str, pixels: str, accuracy: str) -> str:
    return f"{name:28s}{params:>9s}{macs:>11s}{pixels:>11s}{accuracy:>26s}".rstrip()


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M"
