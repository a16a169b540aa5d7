"""AdamW with rates for head and layers, and a polynomial schedule of steps: how the published segmenters were trained."""

from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ...errors import above_zero, at_least
from .detection import layer_number

BACKBONE = "backbone.model."


@dataclass(frozen=True)
class SegmentationOptimization:
    """lr is for the whole batch over all processes.

    head_factor: how much faster everything but the backbone learns; layer_decay: factor from each of `layers` layers of an FFNet backbone
    to the one before it, None: the same rate everywhere; power: of the fall to `min_lr` over all steps.
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

    def optimizer(self, network: nn.Module) -> Optimizer:
        """Norms, biases and other vectors don't decay."""
        groups: dict[tuple[float, float], dict] = {}
        for name, parameter in network.named_parameters():
            scale = 1.0 if name.startswith("backbone.") else self.head_factor
            if self.layer_decay is not None:
                scale *= self.layer_decay ** (self.layers + 1 - layer_number(name, self.layers, backbone=BACKBONE))
            vector = parameter.ndim == 1 or parameter.numel() == parameter.shape[0]
            weight_decay = 0.0 if vector or name.endswith(".bias") else self.weight_decay
            group = groups.setdefault((scale, weight_decay), {"params": [], "lr": self.lr * scale, "weight_decay": weight_decay})
            group["params"].append(parameter)
        # On a CPU PyTorch would step through the tensors one by one.
        return AdamW(list(groups.values()), lr=self.lr, fused=next(network.parameters()).device.type == "cpu")

    def scheduler(self, optimizer: Optimizer, *, steps: int, steps_per_epoch: float) -> LambdaLR:
        """A linear warm-up from a millionth, and all the time the fall of the polynomial."""

        def share(step: int) -> float:
            low = self.min_lr / self.lr
            falling = low + (1 - low) * (1 - min(step / max(steps, 1), 1.0)) ** self.power
            return falling * (1e-6 + (1 - 1e-6) * min(step / max(self.warmup_steps, 1), 1.0))

        return LambdaLR(optimizer, share)
