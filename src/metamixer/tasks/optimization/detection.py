"""AdamW with a rate for each layer of the backbone, and a schedule of steps: how the published detectors were trained."""

import re
from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ...checkpoints.published import published_name

BACKBONE = "pyramid.backbone.model."


@dataclass(frozen=True)
class DetectionOptimization:
    """lr is for the whole batch over all processes.

    layer_decay: factor from each of `layers` layers of an FFNet backbone to the one before it; None: the same rate everywhere.
    milestones: epochs (counted from 1) after which the rate falls to a tenth.
    """

    lr: float = 1e-4
    weight_decay: float = 0.05
    layer_decay: float | None = 0.8
    layers: int = 12
    warmup_steps: int = 500
    milestones: tuple[float, ...] = (27, 33)

    def optimizer(self, network: nn.Module) -> Optimizer:
        """Norms, biases and other vectors don't decay."""
        groups: dict[tuple[float, float], dict] = {}
        for name, parameter in network.named_parameters():
            scale = 1.0 if self.layer_decay is None else self.layer_decay ** (self.layers + 1 - layer_number(name, self.layers))
            weight_decay = 0.0 if parameter.ndim == 1 or name.endswith(".bias") else self.weight_decay
            group = groups.setdefault((scale, weight_decay), {"params": [], "lr": self.lr * scale, "weight_decay": weight_decay})
            group["params"].append(parameter)
        return AdamW(list(groups.values()), lr=self.lr)

    def scheduler(self, optimizer: Optimizer, *, steps: int, steps_per_epoch: float) -> LambdaLR:
        """A linear warm-up from a thousandth, then a tenth at each milestone."""

        def share(step: int) -> float:
            epoch = step / steps_per_epoch
            decay = 0.1 ** sum(epoch >= milestone for milestone in self.milestones)
            return decay * (0.001 + 0.999 * min(step / max(self.warmup_steps, 1), 1.0))

        return LambdaLR(optimizer, share)


def layer_number(name: str, layers: int, *, backbone: str = BACKBONE) -> int:
    """The layer of a parameter: 1 for the backbone's first stage to `layers` for its last; `layers` + 1 for the heads, and the stem.

    backbone: what stands before the names of the backbone's parameters.
    That the stem learns as fast as the heads is the published rule, which knows it under another network's name.
    """
    match = re.match(r"stages\.(\d+)\.(\d+)\.", published_name(name.removeprefix(backbone))) if name.startswith(backbone) else None
    if match is None:
        return layers + 1
    stage, block = int(match[1]), int(match[2])
    return min((1, 2, 3 + block // 3, layers)[stage], layers)
