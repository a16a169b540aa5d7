"""Optimizer and schedule, described as data."""

import math
from dataclasses import dataclass

from timm.optim import create_optimizer_v2, list_optimizers, param_groups_layer_decay, param_groups_weight_decay
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ...errors import InputError, above_zero, at_least
from .adamw import adamw
from .parameter_groups import Groups, parameter_groups


@dataclass(frozen=True)
class Optimization:
    """Optimizer and schedule; by default AdamW with warmup and a cosine, as published.

    Args:
        name: one of timm's optimizers, such as adamw, adam, sgd or lamb.
        lr: peak rate, for the whole batch over all processes.
        min_lr: final rate of the cosine.
        weight_decay: of weights; norms, biases and layer scales have none.
        warmup_epochs: epochs in which the rate rises from `warmup_lr` to `lr`.
        warmup_lr: rate of the first step.
        cooldown_epochs: epochs at `min_lr` at the end.
        schedule: cosine (down to `min_lr`), constant, or exponential (`lr` for `hold_epochs`, then times `gamma` each
            epoch).
        hold_epochs: epochs at `lr` before an exponential schedule falls.
        gamma: factor per epoch of an exponential schedule.
        layer_decay: factor from each layer to the layer before it, for fine-tuning; none: the same rate everywhere.
        betas: decay rates of Adam's two moments; none: the optimizer's default.
    """

    name: str = "adamw"
    lr: float = 1e-3
    min_lr: float = 1e-5
    weight_decay: float = 0.05
    warmup_epochs: float = 5.0
    warmup_lr: float = 1e-6
    cooldown_epochs: float = 0.0
    schedule: str = "cosine"
    hold_epochs: int = 4
    gamma: float = 0.9
    layer_decay: float | None = None
    betas: tuple[float, float] | None = None

    def __post_init__(self):
        if self.schedule not in ("cosine", "constant", "exponential"):
            raise InputError(f"schedule {self.schedule!r}, expected 'cosine', 'constant' or 'exponential'")
        if self.name not in list_optimizers():
            raise InputError(f"optimizer {self.name!r}, expected one of timm's, such as adamw, adam, sgd or lamb")
        for name in ("lr", "gamma", "layer_decay"):
            if getattr(self, name) is not None:
                above_zero(f"optimization.{name}", getattr(self, name))
        for name in ("min_lr", "weight_decay", "warmup_epochs", "warmup_lr", "cooldown_epochs", "hold_epochs"):
            at_least(f"optimization.{name}", getattr(self, name), 0)
        if self.betas and not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"optimization.betas {list(self.betas)}, expected two numbers, at least 0 and below 1")

    def groups(self, network: nn.Module) -> Groups:
        """Parameter groups; with `layer_decay`, a rate for each of timm's layers."""
        if self.layer_decay is None:
            return parameter_groups(network, lambda name: self.lr, self.weight_decay)
        scales = {
            name: group["lr_scale"]
            for names, group in self._timm_groups(network, weight_decay=self.weight_decay)
            for name in names
        }
        return parameter_groups(network, lambda name: self.lr * scales[name], self.weight_decay)

    def groups_before(self, network: nn.Module) -> list[list[str]]:
        """Parameter names of each group in version 0.1.0, by timm's rule: layer scales decayed."""
        return [names for names, _ in self._timm_groups(network, weight_decay=self.weight_decay)]

    def _timm_groups(self, network: nn.Module, *, weight_decay: float) -> list[tuple[list[str], dict]]:
        options = {"weight_decay": weight_decay, "no_weight_decay_list": getattr(network, "no_weight_decay", set)()}
        if self.layer_decay is None:
            groups = param_groups_weight_decay(network, **options)
        else:
            groups = param_groups_layer_decay(network, layer_decay=self.layer_decay, **options)
        names = {parameter: name for name, parameter in network.named_parameters()}
        return [([names[parameter] for parameter in group["params"]], group) for group in groups]

    def optimizer(self, network: nn.Module) -> Optimizer:
        """The optimizer, without weight decay of norms, biases and layer scales."""
        options = {"lr": self.lr, "weight_decay": 0.0} | ({"betas": self.betas} if self.betas else {})
        if self.name == "adamw":
            return adamw(self.groups(network), **options)
        return create_optimizer_v2(self.groups(network), opt=self.name, **options)

    def scheduler(self, optimizer: Optimizer, *, steps: int, steps_per_epoch: float) -> LambdaLR:
        """The schedule over `steps` steps: factors of `lr`."""
        warmup = round(self.warmup_epochs * steps_per_epoch)
        end = max(steps - round(self.cooldown_epochs * steps_per_epoch), warmup + 1)
        low, first = self.min_lr / self.lr, self.warmup_lr / self.lr

        def share(step: int) -> float:
            if step < warmup:
                return first + (1 - first) * step / warmup
            if self.schedule == "constant":
                return 1.0
            if self.schedule == "exponential":
                return self.gamma ** max(step // steps_per_epoch - self.hold_epochs + 1, 0)
            progress = min((step - warmup) / (end - warmup), 1.0)
            return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress))

        return LambdaLR(optimizer, share)
