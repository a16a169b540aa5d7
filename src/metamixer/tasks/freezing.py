"""Callbacks for fine-tuning on few images: parts of the network that don't learn, always or at first."""

from collections.abc import Sequence

import lightning as L
import torch
from torch import nn

from ..errors import InputError, at_least
from .optimization.parameter_groups import block_numbers


class FrozenStages(L.Callback):
    """Keep the stem and the first stages of a classifier, or of a detector's or segmenter's backbone, as they are, norm
    statistics included.

    Args:
        stages: the number of stages, 1 for the first alone.
    """

    def __init__(self, stages: int = 1):
        at_least("stages", stages, 1)
        self.stages = stages

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        network = backbone_of(pl_module.network)
        stage_of = {name: number for name, (number, _) in block_numbers(network).items()}
        if not 0 < self.stages <= max(stage_of.values(), default=-1):
            raise InputError(
                f"FrozenStages.stages {self.stages}, expected 1 to {max(stage_of.values(), default=0)}: the last stage "
                "must learn"
            )
        first = next(name for name, _ in network.named_parameters() if name in stage_of)
        before = [name for name, _ in network.named_parameters()]
        stem = before[: before.index(first)]
        for name, parameter in network.named_parameters():
            if name in stem or stage_of.get(name, self.stages) < self.stages:
                parameter.requires_grad_(False)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A run that is resumed within an epoch doesn't start that epoch."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        hold_statistics(pl_module.network)


class HeadFirst(L.Callback):
    """Train a classifier's last layer, or all of a detector or segmenter but its backbone, alone at first.

    So its random weights don't spoil the pretrained ones (Kumar et al., 2022). The others get gradients, as distributed
    training expects of parameters that learn later, and lose them before each step.

    Args:
        epochs: in which only these learn.
    """

    def __init__(self, epochs: int = 2):
        at_least("epochs", epochs, 1)
        self.epochs = epochs
        self.waiting: list[nn.Parameter] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A run that is resumed within an epoch doesn't start that epoch."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        network = pl_module.network
        self.waiting = below_head(network) if trainer.current_epoch < self.epochs else []
        network.train()
        hold_statistics(network, waiting=self.waiting)

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        for parameter in self.waiting:
            parameter.grad = None  # optimizers leave such parameters as they are


def backbone_of(network: nn.Module) -> nn.Module:
    """A classifier itself, the backbone of another network: the part that has stages, by timm's `group_matcher`.

    Raises InputError if there is none.
    """
    parts = (module for module in network.modules() if hasattr(module, "group_matcher"))
    backbone = next(parts, None)
    if backbone is None:
        raise InputError(f"{type(network).__name__}: no backbone with stages, expected one for freezing parts of it")
    return backbone


def below_head(network: nn.Module) -> list[nn.Parameter]:
    """The parameters of a classifier but for its last layer, or of another network's backbone."""
    backbone = backbone_of(network)
    head = set(network.get_classifier().parameters()) if backbone is network else set()
    return [parameter for parameter in backbone.parameters() if parameter not in head]


def hold_statistics(network: nn.Module, waiting: Sequence[nn.Parameter] = ()) -> None:
    """Put norms whose parameters don't learn, or are waiting, into evaluation mode, so that their statistics stay."""
    still = set(waiting)
    for module in network.modules():
        parameters = list(module.parameters(recurse=False))
        learn = any(parameter.requires_grad and parameter not in still for parameter in parameters)
        if hasattr(module, "running_mean") and parameters and not learn:
            module.eval()
