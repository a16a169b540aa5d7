"""Layers that run faster on a GPU, with the same parameters, checkpoints and results.

`accelerate` replaces the class of each module that has such a form. Without a GPU or Triton, or with
`METAMIXER_KERNELS=off`, it changes nothing; inputs that the kernels don't support (on a CPU, of few positions) are
computed as before.
"""

import os
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import kernels
from .folding import centered
from .operators import ConvNorm, ParallelConv, same_padding
from .series import BatchNorm1d, Conv1d
from .small_maps import MatrixConv2d

FORMS: dict[type[nn.Module], Callable[[nn.Module], type[nn.Module] | None]] = {}
"""Class -> a function that returns the accelerated form of one of its modules, or None."""


def accelerate(model: nn.Module) -> nn.Module:
    """Make a network use the kernels, in place: ours, timm's ConvNeXt, RepLKNet and others with depthwise layers."""
    if kernels.available():
        kernels.measured.load(always=os.environ.get(kernels.SWITCH) == "always")
        for module in model.modules():
            choose = FORMS.get(type(module))
            form = choose(module) if choose else None
            if form:
                module.__class__ = form
    return model


def form_of(kind: type[nn.Module], fits: Callable[[nn.Module], bool] = lambda module: True) -> Callable[[type], type]:
    """Register a class as the accelerated form of the modules of `kind` that fit."""

    def register(form: type[nn.Module]) -> type[nn.Module]:
        others = FORMS.get(kind, lambda module: None)
        FORMS[kind] = lambda module: form if fits(module) else others(module)
        return form

    return register


def is_depthwise(conv: nn.Module) -> bool:
    """Whether it has one filter of odd size per channel, zero padding, and keeps the size."""
    if not isinstance(conv, nn.Conv1d | nn.Conv2d) or conv.padding_mode != "zeros":
        return False
    one_each = conv.groups == conv.in_channels == conv.out_channels and conv.groups > 1
    odd = all(size % 2 == 1 for size in conv.kernel_size) and max(conv.kernel_size) > 1
    dense = set(conv.stride + conv.dilation) == {1}
    return one_each and odd and dense and conv.padding == same_padding(conv.kernel_size)


def is_pointwise(conv: nn.Conv2d) -> bool:
    """Whether it is one matrix, applied at each position."""
    return conv.kernel_size == conv.stride == (1, 1) and conv.padding in ((0, 0), 0) and conv.groups == 1


def keeps_statistics(norm: nn.Module) -> bool:
    """Whether it is a batch norm with weights and an exponential moving average of its statistics."""
    plain = type(norm) in (nn.BatchNorm2d, RowsBatchNorm2d, nn.BatchNorm1d, BatchNorm1d)
    return plain and norm.affine and norm.track_running_stats and norm.momentum is not None


def is_depthwise_norm(module: nn.Module) -> bool:
    """Whether it is a depthwise convolution followed directly by a batch norm."""
    plain = isinstance(module, ConvNorm) and isinstance(module.drop, nn.Identity)
    return plain and is_depthwise(module.conv) and module.conv.bias is None and keeps_statistics(module.norm)


def is_parallel_depthwise_norm(module: ParallelConv) -> bool:
    """Whether its branches are depthwise convolutions with norms, and the first has the largest kernel."""
    if not all(map(is_depthwise_norm, module.branches)):
        return False
    first, *others = (branch.conv.kernel_size for branch in module.branches)
    return all(small <= large for size in others for small, large in zip(size, first, strict=True))


def as_images(x: Tensor) -> Tensor:
    """Series or weights (B, C, N) as images of one row (B, C, 1, N); images as they are."""
    return x.unsqueeze(2) if x.ndim == 3 else x


def takes(x: Tensor, conv: nn.Module) -> bool:
    """Whether the kernels compute a depthwise convolution of x."""
    return kernels.takes(as_images(x), (1, 1, *conv.kernel_size)[-2:])


class Depthwise(nn.Module):
    """What turns a convolution of PyTorch into one computed by the kernels, optionally with GELU."""

    def forward(self, x: Tensor, *, gelu: bool = False) -> Tensor:
        """x: (B, C, H, W) or (B, C, N) -> the same shape."""
        if takes(x, self):
            return convolved(x, *self.merged(x), gelu=gelu)
        y = super().forward(x)
        return F.gelu(y) if gelu else y

    def merged(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weight (C, 1, kh, kw) and bias (C,)."""
        return as_images(self.weight), self.bias


@form_of(MatrixConv2d, is_depthwise)
@form_of(nn.Conv2d, is_depthwise)
class DepthwiseConv2d(Depthwise, nn.Conv2d):
    """A depthwise convolution of images in one kernel."""


@form_of(Conv1d, is_depthwise)
@form_of(nn.Conv1d, is_depthwise)
class DepthwiseConv1d(Depthwise, Conv1d):
    """A depthwise convolution of series in one kernel."""


@form_of(nn.Conv2d, is_pointwise)
class PointwiseConv2d(nn.Conv2d):
    """A pointwise convolution as one matrix product over all positions of the batch, laid out channel by channel.

    Channels-last images stay so: PyTorch's convolution is one product for them already.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W) -> (B, C', H, W)."""
        if not kernels.takes(x, self.kernel_size) or kernels.is_channels_last(x):
            return super().forward(x)
        y = self.weight.flatten(1) @ x.transpose(0, 1).flatten(1)
        if self.bias is not None:
            y = y + self.bias.to(y.dtype)[:, None]
        return y.unflatten(1, (x.shape[0], *x.shape[2:])).transpose(0, 1)


@form_of(nn.BatchNorm2d)
class RowsBatchNorm2d(nn.BatchNorm2d):
    """A batch norm whose result is laid out channel by channel, unless x is channels-last."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W) -> the same shape."""
        if not kernels.takes(x, (1, 1)) or kernels.is_channels_last(x):
            return super().forward(x)
        rows = x.transpose(0, 1).flatten(1)
        y = super().forward(rows[None, :, :, None])[0, :, :, 0]
        return y.unflatten(1, (x.shape[0], *x.shape[2:])).transpose(0, 1)


@form_of(ConvNorm, is_depthwise_norm)
class DepthwiseConvNorm(ConvNorm):
    """norm(conv(x)) as one convolution, with the batch's statistics folded into its weights."""

    def forward(self, x: Tensor, *, gelu: bool = False) -> Tensor:
        """x: (B, C, H, W) or (B, C, N) -> the same shape."""
        if takes(x, self.conv) and is_depthwise_norm(self):  # the norm may be synchronized since
            return convolved(x, *self.merged(x), gelu=gelu)
        y = super().forward(x)
        return F.gelu(y) if gelu else y

    def merged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (C, 1, kh, kw) and bias (C,) for this batch, or for running statistics in evaluation."""
        return merge_branches([self], x)


@form_of(ParallelConv, is_parallel_depthwise_norm)
class ParallelDepthwiseNorm(ParallelConv):
    """Parallel depthwise convolutions with norms, as one convolution."""

    def forward(self, x: Tensor, *, gelu: bool = False) -> Tensor:
        """x: (B, C, H, W) or (B, C, N) -> the same shape."""
        if takes(x, self.branches[0].conv) and all(map(is_depthwise_norm, self.branches)):
            return convolved(x, *self.merged(x), gelu=gelu)
        y = super().forward(x)
        return F.gelu(y) if gelu else y

    def merged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (C, 1, kh, kw) and bias (C,) for this batch, or for running statistics in evaluation."""
        return merge_branches(list(self.branches), x)


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None, *, gelu: bool) -> Tensor:
    """Depthwise convolution; imports the operators, which need Triton, on first use."""
    from .kernels.operators import depthwise

    return depthwise(as_images(x), weight, bias, gelu=gelu).view(x.shape)


def merge_branches(branches: list[ConvNorm], x: Tensor) -> tuple[Tensor, Tensor]:
    """Merge depthwise convolutions with norms into one convolution for x: weight (C, 1, kh, kw), bias (C,), float32."""
    from .kernels.operators import merged, moments

    norms = [branch.norm for branch in branches]
    size = branches[0].conv.kernel_size
    weights = torch.stack([as_images(centered(branch.conv.weight, size))[:, 0] for branch in branches])
    if norms[0].training:
        means, variances = moments(as_images(x), [as_images(branch.conv.weight)[:, 0] for branch in branches])
        update_statistics(norms, means.detach(), variances.detach(), count=x.numel() // x.shape[1])
    else:
        means, variances = [norm.running_mean for norm in norms], [norm.running_var for norm in norms]
    return merged(weights, means, variances, norms)


@torch.no_grad()
def update_statistics(norms: list[nn.BatchNorm2d], means: Tensor, variances: Tensor, *, count: int) -> None:
    """Update running statistics like `nn.BatchNorm2d`, whose running variance is unbiased."""
    for norm, mean, variance in zip(norms, means, variances, strict=True):
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
        norm.running_var.lerp_((variance * (count / max(count - 1, 1))).to(norm.running_var.dtype), norm.momentum)
        norm.num_batches_tracked.add_(1)


def key_gelu_value(key: nn.Module, value: nn.Module, x: Tensor) -> Tensor:
    """value(gelu(key(x))): one kernel without gradients, else GELU is part of the key's kernel."""
    if not (isinstance(key, WITH_GELU) and isinstance(value, WITH_GELU)):
        return value(F.gelu(key(x)))
    images = as_images(x)
    alone = not torch.is_grad_enabled() and not key.training
    if alone and kernels.takes(images, (1, 1)):
        from .kernels.operators import depthwise_twice, pays_twice

        (first, shift), (second, offset) = key.merged(x), value.merged(x)
        size, same = tuple(first.shape[2:]), first.shape == second.shape
        biased = shift is not None and offset is not None
        if biased and same and kernels.takes(images, size) and pays_twice(images, size):
            return depthwise_twice(images, first, shift, second, offset).view(x.shape)
    return value(key(x, gelu=True))


WITH_GELU = (Depthwise, DepthwiseConvNorm, ParallelDepthwiseNorm)
"""Modules that compute GELU in their own kernel."""
