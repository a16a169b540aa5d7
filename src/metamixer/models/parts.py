"""The parts of an image network: what each stage is made of, and what stands before and behind the stages."""

from collections.abc import Sequence

import torch
from timm.layers import SelectAdaptivePool2d, trunc_normal_
from timm.models import checkpoint_seq
from torch import Tensor, nn

from ..errors import InputError
from ..ops import Operators, ParallelConv, norm_as_affine

STRIDE = 32
"""The last stage sees the image at this stride; a smaller image is refused."""


def check_image(x: Tensor, in_chans: int) -> None:
    """Refuse what a convolution would take without a word (too small) or with an unclear one (wrong channels)."""
    if torch.jit.is_scripting():
        return
    if x.ndim != 4 or x.shape[1] != in_chans:
        raise InputError(f"image batch of shape {list(x.shape)}, expected (batch, {in_chans}, height, width)")
    if x.shape[2] < STRIDE or x.shape[3] < STRIDE:
        raise InputError(f"image of {x.shape[2]}x{x.shape[3]} pixels, expected at least {STRIDE}x{STRIDE}, the network's stride")


class Stage(nn.Module):
    """Down-sampling (all stages but the first), then blocks."""

    def __init__(self, downsample: nn.Module, blocks: Sequence[nn.Module]):
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.Sequential(*blocks)
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W) -> (B, C', H', W')."""
        x = self.downsample(x)
        if self.grad_checkpointing and not torch.jit.is_scripting():
            return checkpoint_seq(self.blocks, x)
        return self.blocks(x)


class Head(nn.Module):
    """Norm, pooling, classifier; the norm folds into the classifier, for an average and an affine map change places."""

    def __init__(self, dim: int, num_classes: int, *, global_pool: str = "avg", drop_rate: float = 0.0, device=None, dtype=None):
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        self.norm = nn.BatchNorm2d(dim, **factory)
        self.global_pool = make_pool(global_pool)
        self.drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(dim, num_classes, **factory) if num_classes > 0 else nn.Identity()

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """x: (B, C, H, W) -> logits (B, classes), or (B, C) with `pre_logits`."""
        x = self.drop(self.global_pool(self.norm(x)))
        return x if pre_logits else self.fc(x)

    @torch.no_grad()
    def fuse(self) -> nn.Module:
        if isinstance(self.norm, nn.BatchNorm2d) and isinstance(self.fc, nn.Linear):
            scale, shift = norm_as_affine(self.norm)
            weight = self.fc.weight.double()
            self.fc.bias.add_((weight @ shift).to(self.fc.bias.dtype))
            self.fc.weight.copy_(weight * scale)
            self.norm = nn.Identity()
        return self


def make_downsample(dim: int, out_dim: int, operators: Operators) -> nn.Module:
    """Half the size: a 7x7 depthwise convolution to the new width, then x + conv(norm(x))."""
    return nn.Sequential(
        operators.depthwise_norm(dim, out_dim, 7, stride=2),
        ParallelConv(operators.norm_conv(out_dim, out_dim), nn.Identity()),
    )


def make_pool(global_pool: str) -> nn.Module:
    """'avg', or '' for none; no other kind lets the norm fold into the classifier."""
    if global_pool not in ("avg", ""):
        raise InputError(f"global_pool {global_pool!r}, expected 'avg' or ''")
    return SelectAdaptivePool2d(pool_type=global_pool, flatten=bool(global_pool))


def init_weights(module: nn.Module) -> None:
    """Normal weights of deviation 0.02 and no bias, as published."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
