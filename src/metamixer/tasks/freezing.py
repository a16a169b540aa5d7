"""Callbacks for fine-tuning on few images: parts of the network that don't learn, always or at first."""

import lightning as L
from torch import nn

from ..errors import InputError, at_least
from .optimization.parameter_groups import block_numbers


class FrozenStages(L.Callback):
    """Keep the stem and the first stages as they are, norm statistics included.

    Args:
        stages: the number of stages, 1 for the first alone; of any network that tells its stages by timm's
            `group_matcher`.
    """

    def __init__(self, stages: int = 1):
        at_least("stages", stages, 1)
        self.stages = stages

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        network = pl_module.network
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

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        hold_statistics(pl_module.network)


class HeadFirst(L.Callback):
    """Train the classifier alone at first, so that its random weights don't spoil the others (Kumar et al., 2022).

    Args:
        epochs: in which only the classifier learns.
    """

    def __init__(self, epochs: int = 2):
        at_least("epochs", epochs, 1)
        self.epochs = epochs
        self.waiting: list[nn.Parameter] | None = None

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        network = pl_module.network
        if self.waiting is None:
            head = {id(parameter) for parameter in network.get_classifier().parameters()}
            self.waiting = [p for p in network.parameters() if p.requires_grad and id(p) not in head]
        learn = trainer.current_epoch >= self.epochs
        for parameter in self.waiting:
            parameter.requires_grad_(learn)
        network.train()
        hold_statistics(network)


def hold_statistics(network: nn.Module) -> None:
    """Put norms whose parameters don't learn into evaluation mode, so that their statistics stay."""
    for module in network.modules():
        parameters = list(module.parameters(recurse=False))
        if hasattr(module, "running_mean") and parameters and not any(p.requires_grad for p in parameters):
            module.eval()
