"""Muon, the optimizer of the zero-shot forecaster's matrices."""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalized updates (Jordan et al., 2024), for pointwise convolutions."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ):
        by_shape = defaultdict(list)
        for weight in parameters:
            by_shape[weight.shape].append(weight)
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__([{"params": weights} for weights in by_shape.values()], defaults)

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            weights, lr, momentum = group["params"], group["lr"], group["momentum"]
            gradients = [weight.grad for weight in weights]
            moving = [self.state[weight].setdefault("momentum", torch.zeros_like(weight)) for weight in weights]
            torch._foreach_lerp_(moving, gradients, 1 - momentum)
            directions = orthogonal(
                torch.stack(torch._foreach_lerp(gradients, moving, momentum)).squeeze(-1)
            ).unsqueeze(-1)
            torch._foreach_mul_(weights, 1 - lr * group["weight_decay"])
            size = max(1, weights[0].shape[0] / weights[0].shape[1]) ** 0.5
            torch._foreach_add_(weights, list(directions.unbind()), alpha=-lr * size)


def orthogonal(matrices: Tensor, *, steps: int = 5) -> Tensor:
    """The nearest matrices with singular values around one, by a Newton-Schulz iteration; (..., rows, columns)."""
    x = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-7)
    wide = x.shape[-2] <= x.shape[-1]
    x = x if wide else x.mT
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x if wide else x.mT
