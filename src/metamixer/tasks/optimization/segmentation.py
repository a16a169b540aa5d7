"""AdamW with rates for head and layers, and a polynomial schedule, as the published segmenters were trained."""

from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ...errors import above_zero, at_least
from .adamw import adamw
from .parameter_groups import Groups, layer_numbers, names_of_groups, parameter_groups

BACKBONE = "backbone.model"


@dataclass(frozen=True)
class SegmentationOptimization:
    """AdamW with rates for head and layers, and a polynomial schedule; `lr` is for the whole batch over all processes.

    head_factor: factor of the rate outside the backbone; layer_decay: factor from each of `layers` layers of a
    four-stage backbone to the layer before it, None: the same rate everywhere; power: of the polynomial decay to
    `min_lr` over all steps.
    """

    lr: float = 6e-5
    min_lr: float = 0.0
    weight_decay: float = 0.05
    head_factor: float = 1.0
    layer_decay: float | None = None
    layers: int = 12
    warmup_steps: int = 1500
    power: float = 1.0

    def __post_init__(self):
        above_zero("optimization.lr", self.lr)
        for name in ("min_lr", "weight_decay", "warmup_steps", "head_factor"):
            at_least(f"optimization.{name}", getattr(self, name), 0)
        if self.layer_decay is not None:
            above_zero("optimization.layer_decay", self.layer_decay)

    def groups(self, network: nn.Module) -> Groups:
        """Parameter groups with a rate for each layer of the backbone, and for the head."""
        if self.layer_decay is None:
            factor = dict.fromkeys((name for name, _ in network.named_parameters()), 1.0)
        else:
            layers, decay = layer_numbers(network, BACKBONE, self.layers), self.layer_decay
            factor = {name: decay ** (self.layers + 1 - layer) for name, layer in layers.items()}
        head = {name: 1.0 if name.startswith("backbone.") else self.head_factor for name in factor}
        return parameter_groups(network, lambda name: self.lr * (head[name] * factor[name]), self.weight_decay)

    def groups_before(self, network: nn.Module) -> list[list[str]]:
        """Parameter names of each group in version 0.1.0, which had the same groups."""
        return names_of_groups(self.groups(network))

    def optimizer(self, network: nn.Module) -> Optimizer:
        """AdamW without weight decay of norms, biases and layer scales."""
        return adamw(self.groups(network), lr=self.lr)

    def scheduler(self, optimizer: Optimizer, *, steps: int, steps_per_epoch: float) -> LambdaLR:
        """Linear warmup from a millionth of the rate, times the polynomial decay."""

        def share(step: int) -> float:
            low = self.min_lr / self.lr
            falling = low + (1 - low) * (1 - min(step / max(steps, 1), 1.0)) ** self.power
            return falling * (1e-6 + (1 - 1e-6) * min(step / max(self.warmup_steps, 1), 1.0))

        return LambdaLR(optimizer, share)
