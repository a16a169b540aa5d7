"""AdamW with layer decay and a step schedule, as the published detectors were trained."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ...errors import InputError, above_zero, at_least
from .adamw import adamw
from .parameter_groups import Groups, layer_numbers, names_of_groups, no_decay, parameter_groups

BACKBONE = "pyramid.backbone.model"


@dataclass(frozen=True)
class DetectionOptimization:
    """AdamW with layer decay and a step schedule; `lr` is for the whole batch over all processes.

    layer_decay: factor from each of `layers` layers of a four-stage backbone to the layer before it; None: the same
    rate everywhere.
    milestones: epochs (counted from 1) after which the rate falls to a tenth.
    """

    lr: float = 1e-4
    weight_decay: float = 0.05
    layer_decay: float | None = 0.8
    layers: int = 12
    warmup_steps: int = 500
    milestones: tuple[float, ...] = (27, 33)

    def __post_init__(self):
        above_zero("optimization.lr", self.lr)
        for name in ("weight_decay", "warmup_steps"):
            at_least(f"optimization.{name}", getattr(self, name), 0)
        at_least("optimization.layers", self.layers, 1)
        if self.layer_decay is not None:
            above_zero("optimization.layer_decay", self.layer_decay)
        if not all(0 < milestone < math.inf for milestone in self.milestones):
            raise InputError(f"optimization.milestones {list(self.milestones)}, expected epochs above 0")

    def groups(self, network: nn.Module, *, exempt: Callable[[str, Tensor], bool] = no_decay) -> Groups:
        """Parameter groups with a rate for each layer of the backbone."""
        if self.layer_decay is None:
            return parameter_groups(network, lambda name: self.lr, self.weight_decay, exempt=exempt)
        layers, decay = layer_numbers(network, BACKBONE, self.layers), self.layer_decay
        rate = {name: self.lr * decay ** (self.layers + 1 - layer) for name, layer in layers.items()}
        return parameter_groups(network, rate.__getitem__, self.weight_decay, exempt=exempt)

    def groups_before(self, network: nn.Module) -> list[list[str]]:
        """Parameter names of each group in version 0.1.0, in which layer scales decayed."""
        groups = self.groups(network, exempt=lambda name, parameter: parameter.ndim == 1 or name.endswith(".bias"))
        return names_of_groups(groups)

    def optimizer(self, network: nn.Module) -> Optimizer:
        """AdamW without weight decay of norms, biases and layer scales."""
        return adamw(self.groups(network), lr=self.lr)

    def scheduler(self, optimizer: Optimizer, *, steps: int, steps_per_epoch: float) -> LambdaLR:
        """Linear warmup from a thousandth of the rate, then a factor of 0.1 at each milestone."""

        def share(step: int) -> float:
            epoch = step / steps_per_epoch
            decay = 0.1 ** sum(epoch >= milestone for milestone in self.milestones)
            return decay * (0.001 + 0.999 * min(step / max(self.warmup_steps, 1), 1.0))

        return LambdaLR(optimizer, share)
