"""The parts of an image network: stage, stems, downsampling, heads."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from timm.layers import SelectAdaptivePool2d, trunc_normal_
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...errors import InputError
from ...ops import (
    IMAGE,
    IMAGE_WITH_STRIPS,
    Operators,
    ParallelConv,
    folds,
    is_known,
    kernel_of,
    norm_as_affine,
    with_children,
    with_kernel,
)
from ..published_names import FFNET_NAMES, FFNET_SEG_NAMES, Names

STRIDE = 32
"""Stride of the last stage, and the smallest image side."""
EXPANDED_DIM, HIDDEN_DIM = 1024, 1280
"""Widths in the segmentation backbone's classifier, as published."""


def check_image(x: Tensor, in_chans: int) -> None:
    """Raise InputError for an image that is too small or has the wrong channels."""
    if torch.jit.is_scripting():
        return
    if x.ndim != 4 or x.shape[1] != in_chans:
        raise InputError(f"image batch of shape {list(x.shape)}, expected (batch, {in_chans}, height, width)")
    if x.shape[2] < STRIDE or x.shape[3] < STRIDE:
        raise InputError(
            f"image of {x.shape[2]}x{x.shape[3]} pixels, expected at least {STRIDE}x{STRIDE}, the network's stride"
        )


class Stage(nn.Module):
    """Downsampling (except in the first stage), then blocks."""

    def __init__(self, downsample: nn.Module, blocks: Sequence[nn.Module]):
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.Sequential(*blocks)
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W) -> (B, C', H', W')."""
        x = self.downsample(x)
        if self.grad_checkpointing and not torch.jit.is_scripting():
            return checkpointed(self.blocks, x)
        return self.blocks(x)


def checkpointed(blocks: nn.Sequential, x: Tensor) -> Tensor:
    """The result of blocks that are computed again in the backward pass, which updates no statistics of norms."""
    for block in blocks:
        contexts = {} if torch.compiler.is_compiling() else {"context_fn": partial(_once_and_again, block)}
        x = checkpoint(block, x, use_reentrant=False, **contexts)
    return x


def _once_and_again(block: nn.Module) -> tuple:
    """What surrounds the first computation of a block, and the second."""
    return nullcontext(), buffers_copied(block)


@contextmanager
def buffers_copied(module: nn.Module) -> Iterator[None]:
    """A module changes copies of its buffers, such as the running statistics of norms."""
    parts = [(part, part._buffers) for part in module.modules()]
    for part, buffers in parts:
        part._buffers = {name: None if value is None else value.clone() for name, value in buffers.items()}
    try:
        yield
    finally:
        for part, buffers in parts:
            part._buffers = buffers


class Head(nn.Module):
    """Norm, average pooling, classifier; the norm folds into the classifier, since pooling commutes with it."""

    def __init__(
        self, dim: int, num_classes: int, *, global_pool: str = "avg", drop_rate: float = 0.0, device=None, dtype=None
    ):
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        self.hidden_size = dim
        self.norm = nn.BatchNorm2d(dim, **factory)
        self.global_pool = make_pool(global_pool)
        self.drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(dim, num_classes, **factory) if num_classes > 0 else nn.Identity()

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """x: (B, C, H, W) -> logits (B, classes), or (B, C) with `pre_logits`."""
        x = self.drop(self.global_pool(self.norm(x)))
        return x if pre_logits else self.fc(x)

    def reset_pool(self, global_pool: str) -> None:
        """Change the pooling; '' for none."""
        self.global_pool = make_pool(global_pool)

    @torch.no_grad()
    def fuse(self) -> nn.Module:
        linear = isinstance(self.fc, nn.Linear) and is_known(self.fc) and "weight" in self.fc._parameters
        if not (folds(self.norm) and linear):
            return self
        scale, shift = norm_as_affine(self.norm)
        weight = kernel_of(self.fc)
        bias = 0 if self.fc.bias is None else self.fc.bias.double()
        fc = with_kernel(self.fc, weight * scale, weight @ shift + bias)
        return with_children(self, norm=nn.Identity(), fc=fc)


class HiddenHead(nn.Module):
    """Pointwise convolution, pooling, hidden layer, classifier; without pooling the features pass through unchanged."""

    def __init__(
        self, dim: int, num_classes: int, *, global_pool: str = "avg", drop_rate: float = 0.0, device=None, dtype=None
    ):
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        operators = IMAGE.on(**factory)
        self.hidden_size = HIDDEN_DIM
        self.norm = nn.Identity()
        self.expand = nn.Sequential(operators.conv_norm(dim, EXPANDED_DIM, 1), nn.Hardswish())
        norm = nn.LayerNorm(HIDDEN_DIM, eps=1e-6, **factory)
        self.hidden = nn.Sequential(nn.Linear(EXPANDED_DIM, HIDDEN_DIM, **factory), norm, nn.Hardswish())
        self.reset_pool(global_pool)
        self.drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(self.hidden_size, num_classes, **factory) if num_classes > 0 else nn.Identity()

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """x: (B, C, H, W) -> logits (B, classes), or (B, hidden) with `pre_logits`."""
        x = self.drop(self.hidden(self.global_pool(self.expand(x))))
        return x if pre_logits else self.fc(x)

    def reset_pool(self, global_pool: str) -> None:
        """Change the pooling; '' for none, which removes the hidden layer as well, since it takes vectors."""
        self.global_pool = make_pool(global_pool)
        if not global_pool:
            self.expand, self.hidden = nn.Identity(), nn.Identity()


def make_stem(in_chans: int, stem_dim: int, dim: int, operators: Operators) -> nn.Module:
    """Two convolutions to a quarter of the size."""
    return nn.Sequential(
        operators.conv_norm(in_chans, stem_dim, 3, stride=2),
        operators.act(),
        operators.conv_norm(stem_dim, dim, 3, stride=2),
    )


def make_deep_stem(in_chans: int, stem_dim: int, dim: int, operators: Operators) -> nn.Module:
    """Four convolutions to a quarter of the size."""
    return nn.Sequential(
        operators.conv_norm(in_chans, stem_dim, 3, stride=2),
        operators.act(),
        operators.conv_norm(stem_dim, stem_dim, 3),
        operators.act(),
        operators.conv_norm(stem_dim, dim, 3),
        operators.conv_norm(dim, dim, 3, stride=2),
    )


def make_downsample(dim: int, out_dim: int, operators: Operators) -> nn.Module:
    """Halve the size: a 7x7 depthwise convolution to the new width, then x + conv(norm(x))."""
    if out_dim % dim:
        raise InputError(f"dims with {out_dim} after {dim}, expected a multiple of {dim}")
    return nn.Sequential(
        operators.depthwise_norm(dim, out_dim, 7, stride=2),
        ParallelConv(operators.norm_conv(out_dim, out_dim), nn.Identity()),
    )


def make_wide_downsample(dim: int, out_dim: int, operators: Operators) -> nn.Module:
    """Halve the size: a 3x3 convolution to twice the new width, then a pointwise one to the new width."""
    return nn.Sequential(
        operators.conv_norm(dim, 2 * out_dim, 3, stride=2),
        operators.act(),
        operators.conv_norm(2 * out_dim, out_dim, 1),
    )


@dataclass(frozen=True)
class Parts:
    """What surrounds the blocks of an image network, and the operators of its token mixers.

    stem: (in_chans, stem_dim, dim, operators); downsample: (dim, out_dim, operators); head: as `Head` takes them;
    names: our parameter names -> the published ones.
    """

    stem: Callable[[int, int, int, Operators], nn.Module] = make_stem
    downsample: Callable[[int, int, Operators], nn.Module] = make_downsample
    head: Callable[..., nn.Module] = Head
    token_operators: Operators = IMAGE
    names: Names = FFNET_NAMES


PLAIN_PARTS = Parts()
SEGMENTATION_PARTS = Parts(make_deep_stem, make_wide_downsample, HiddenHead, IMAGE_WITH_STRIPS, FFNET_SEG_NAMES)


def make_pool(global_pool: str) -> nn.Module:
    """'avg', or '' for none; the norm folds into the classifier with these only."""
    if global_pool not in ("avg", ""):
        raise InputError(f"global_pool {global_pool!r}, expected 'avg' or ''")
    return SelectAdaptivePool2d(pool_type=global_pool, flatten=bool(global_pool))


def init_weights(module: nn.Module) -> None:
    """Initialize weights from a normal distribution of std 0.02 and biases with zero, as published.

    A layer or mixer of somebody's own is then initialized by its method `init_weights()`, if it has one.
    """
    if isinstance(module, nn.Conv2d | nn.Linear) and not module.weight.is_meta:  # drawing takes long and has no effect
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    own_weights(module)


def own_weights(module: nn.Module) -> None:
    """Call a module's own initialization, if it has one."""
    if hasattr(module, "init_weights"):
        module.init_weights()
