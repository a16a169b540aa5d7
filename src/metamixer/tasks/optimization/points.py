"""AdamW with two rates and a one-cycle schedule, as the published point networks were trained."""

from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from ...errors import above_zero, at_least, from_zero_to_one
from .adamw import adamw
from .parameter_groups import Groups, parameter_groups

BLOCKS = ("encoder.", "decoder.")


@dataclass(frozen=True)
class PointOptimization:
    """AdamW with two rates and a one-cycle schedule.

    lr: peak rate; block_lr: that of the mixer blocks. Both rise for a fraction `warmup` of the steps and then fall
    along a cosine, from peak / start_factor to peak / (start_factor * end_factor).
    """

    lr: float = 6e-3
    block_lr: float = 6e-4
    weight_decay: float = 0.05
    warmup: float = 0.05
    start_factor: float = 10.0
    end_factor: float = 1000.0

    def __post_init__(self):
        for name in ("lr", "block_lr", "start_factor", "end_factor"):
            above_zero(f"optimization.{name}", getattr(self, name))
        at_least("optimization.weight_decay", self.weight_decay, 0)
        from_zero_to_one("optimization.warmup", self.warmup)

    def groups(self, network: nn.Module) -> Groups:
        """Parameter groups with two rates: for the mixer blocks, and for everything else."""
        return parameter_groups(network, self._rate, self.weight_decay)

    def groups_before(self, network: nn.Module) -> list[list[str]]:
        """Parameter names of each group in version 0.1.0, in which everything decayed, as published; blocks last."""
        names = [name for name, _ in network.named_parameters()]
        parts = [[name for name in names if name.startswith(BLOCKS) == in_blocks] for in_blocks in (False, True)]
        return [part for part in parts if part]

    def _rate(self, name: str) -> float:
        return self.block_lr if name.startswith(BLOCKS) else self.lr

    def optimizer(self, network: nn.Module) -> Optimizer:
        """AdamW without weight decay of norms, biases and layer scales; the authors' decays everything."""
        return adamw(self.groups(network), lr=self.lr)

    def scheduler(self, optimizer: Optimizer, *, steps: int, steps_per_epoch: float) -> OneCycleLR:
        """One cycle over all steps."""
        return OneCycleLR(
            optimizer,
            [group["lr"] for group in optimizer.param_groups],
            total_steps=max(steps, 2) + 1,
            pct_start=self.warmup,
            anneal_strategy="cos",
            cycle_momentum=True,
            div_factor=self.start_factor,
            final_div_factor=self.end_factor,
        )
