"""FFNet-SR: an image in, a `scale` times larger one out (paper, section 4.3 and its super-resolution table).

The body works at the size of the small image. Its result is enlarged by a pixel shuffle and added to the repeated
image. The restoration networks are the same with scale 1 and a body at half the image's size.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from timm.layers import LayerNorm2d, get_norm_layer
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError, expect_odd
from ..mixer import (
    ConvNeXtFFN,
    MixerBlock,
    Mixers,
    Residual,
    mixer_of_each,
    token_mixer,
    with_mixers,
)
from ..ops import (
    ConvNorm,
    KernelSize,
    Operators,
    output_layer,
    same_padding,
)
from .ffnet.parts import own_weights
from .published_names import Names, rename_published, renamed

SCALES = (2, 3, 4)
RESTORATION_SCALES = (1, *SCALES)


@dataclass(frozen=True)
class WithoutNorm(Operators):
    """Convolutions with a bias and no norm."""

    def conv_norm(
        self, dim: int, out_dim: int, kernel_size: KernelSize, *, stride: int = 1, groups: int = 1
    ) -> nn.Module:
        """A convolution that keeps the size at stride 1."""
        return self.conv(dim, out_dim, kernel_size, stride, same_padding(kernel_size), groups=groups)


@dataclass(frozen=True)
class NormBefore(WithoutNorm):
    """The norm precedes the convolution, as published for LayerNorm, which can't be folded anyway."""

    def conv_norm(
        self, dim: int, out_dim: int, kernel_size: KernelSize, *, stride: int = 1, groups: int = 1
    ) -> nn.Module:
        """A norm, then a convolution that keeps the size at stride 1."""
        return nn.Sequential(self.norm(dim), super().conv_norm(dim, out_dim, kernel_size, stride=stride, groups=groups))


@dataclass(frozen=True)
class NormAfter(WithoutNorm):
    """The norm follows the convolution, which keeps its bias, as published for BatchNorm."""

    def conv_norm(
        self, dim: int, out_dim: int, kernel_size: KernelSize, *, stride: int = 1, groups: int = 1
    ) -> nn.Module:
        """A convolution that keeps the size at stride 1, then a norm."""
        return ConvNorm(super().conv_norm(dim, out_dim, kernel_size, stride=stride, groups=groups), self.norm(out_dim))


PLACES: dict[type[nn.Module] | None, type[Operators]] = {
    None: WithoutNorm,
    LayerNorm2d: NormBefore,
    nn.BatchNorm2d: NormAfter,
}
"""The place of a norm, by its class."""


class FFNetSR(nn.Module):
    """The super-resolution network; the defaults are the paper's light one.

    Args:
        scale: how many times larger the result is.
        in_chans: channels of the image, 3 for color and 1 for gray.
        patch: side of the squares of pixels that the stem takes as one; the image's sides are multiples of it.
        dim, depth: width and number of blocks.
        token_kernel, channel_kernel: kernel sizes of the token and the channel mixer.
        expansion_ratio: of the channel mixer.
        mixers: a name of `metamixer.TOKEN_MIXERS` or a function (dim, kernel_size, operators), for the only stage.
        norm: a class of `PLACES`, or its name in timm ("layernorm2d", "batchnorm2d"); None: no norm.
    """

    def __init__(
        self,
        scale: int = 2,
        *,
        in_chans: int = 3,
        patch: int = 1,
        dim: int = 96,
        depth: int = 36,
        token_kernel: int = 3,
        channel_kernel: int = 3,
        expansion_ratio: float = 2,
        mixers: Mixers = "ffnified",
        norm: str | type[nn.Module] | None = None,
        device=None,
        dtype=None,
    ):
        super().__init__()
        if scale not in RESTORATION_SCALES:
            raise InputError(f"scale {scale}, expected one of {', '.join(map(str, RESTORATION_SCALES))}")
        expect_odd("token_kernel", token_kernel)
        expect_odd("channel_kernel", channel_kernel)
        operators = operators_with(norm).on(device=device, dtype=dtype)
        (mixer,) = mixer_of_each(mixers, 1)
        self.scale = scale
        self.norm = norm_class(norm)
        self.in_chans = in_chans
        self.patch = patch
        self.fold = nn.PixelUnshuffle(patch) if patch > 1 else nn.Identity()
        self.stem = operators.conv(in_chans * patch**2, dim, 3, 1, 1)
        self.blocks = nn.Sequential(
            *(
                MixerBlock(
                    token_mixer(mixer, dim, kernel_size=token_kernel, operators=operators),
                    ConvNeXtFFN(dim, channel_kernel, operators, expansion_ratio=expansion_ratio),
                )
                for _ in range(depth)
            )
        )
        self.head = operators.conv(dim, in_chans * (scale * patch) ** 2, 3, 1, 1)
        if self.norm is None:
            initialize_with_unit_variance(self)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W), values in [0, 1] -> (B, C, scale * H, scale * W)."""
        check_small_image(x, self.in_chans, self.patch)
        details = F.pixel_shuffle(self.head(self.blocks(self.stem(self.fold(x)))), self.scale * self.patch)
        return details + F.pixel_shuffle(x.repeat_interleave(self.scale**2, dim=1), self.scale)

    def convert_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A published state dict under our names (`metamixer.load_published`)."""
        return rename_published(state, self.state_dict(), name_of=self.published_name)

    def published_name(self, name: str) -> str:
        """The published key of one of our parameters or buffers."""
        return renamed(name, PUBLISHED_NAMES[self.norm])


_AROUND_THE_BODY = ((r"^stem\.", "proj."), (r"^head\.", "conv_bef_up."), (r"^blocks\.", "body."), (r"\.mixer\.", "."))

PUBLISHED_NAMES: dict[type[nn.Module] | None, Names] = {
    None: (*_AROUND_THE_BODY, (r"\.query\.", ".0."), (r"\.key\.", ".1."), (r"\.value\.", ".3.")),
    LayerNorm2d: (
        *_AROUND_THE_BODY,
        (r"\.query\.", "."),
        (r"\.key\.", ".2."),
        (r"\.value\.", ".4."),
    ),
    nn.BatchNorm2d: (
        *_AROUND_THE_BODY,
        (r"\.query\.conv\.", ".0."),
        (r"\.query\.norm\.", ".1."),
        (r"\.key\.", ".2."),
        (r"\.value\.", ".4."),
    ),
}
"""Our name -> the published one for each norm, since a norm shifts the indices of the published layer lists."""


def operators_with(norm: str | type[nn.Module] | None) -> Operators:
    """The layers of an image network with this norm in its place; raises InputError for an unknown norm."""
    kind = norm_class(norm)
    return PLACES[kind](nn.Conv2d, kind or nn.Identity, nn.AvgPool2d)


def norm_class(norm: str | type[nn.Module] | None) -> type[nn.Module] | None:
    """A norm's class from itself or its name in timm; raises InputError for an unknown norm."""
    try:
        kind = get_norm_layer(norm)
    except KeyError:
        kind = norm
    if kind not in PLACES:
        raise InputError(f"norm {norm!r}, expected None, 'layernorm2d', 'batchnorm2d' or the class of one of them")
    return kind


@torch.no_grad()
def initialize_with_unit_variance(network: FFNetSR) -> None:
    """Initialize a network without norms so that its signal has unit variance and each branch adds a tenth to it.

    PyTorch's default shrinks the signal by 0.58 in every layer, and training stays on the plateau of a linear filter.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for branch in network.blocks.modules():
        if isinstance(branch, Residual):
            layers = [layer for layer in branch.modules() if isinstance(layer, nn.Conv2d)]
            last = output_layer(branch.mixer) or next(reversed(layers), None)
            if last is not None:
                last.weight *= 0.17  # 1.7 for the activation before it, times a tenth
    network.stem.weight *= 4  # pixels in [0, 1] become 4 * (pixel - 0.5)
    network.stem.bias -= network.stem.weight.sum(dim=(1, 2, 3)) / 2
    network.head.weight *= 0.1
    network.blocks.apply(own_weights)


def check_small_image(x: Tensor, channels: int = 3, patch: int = 1) -> None:
    """Raise InputError for anything but a batch of images of this many channels, with sides of whole patches."""
    if torch.jit.is_scripting():
        return
    if x.ndim != 4 or x.shape[1] != channels:
        raise InputError(f"image batch of shape {list(x.shape)}, expected (batch, {channels}, height, width)")
    if patch > 1 and not torch.compiler.is_compiling() and (x.shape[2] % patch or x.shape[3] % patch):
        raise InputError(f"image batch of shape {list(x.shape)}, expected height and width to be multiples of {patch}")


VARIANTS: dict[str, dict] = {
    "ffnet_sr_nano": {"dim": 64, "depth": 7},
    "ffnet_sr_light": {"dim": 96, "depth": 36},
    "ffnet_sr": {"dim": 96, "depth": 48},
}
"""Keywords of each super-resolution variant; `ffnet_sr_nano` is ours, the others are the paper's."""

RESTORATION_VARIANTS: dict[str, dict] = {"ffnet_restore": {"dim": 64, "depth": 12, "patch": 2}}
"""Keywords of each restoration variant; all are ours."""


def build_ffnet_sr(variant: str, *, scale: int = 2, **network) -> FFNetSR:
    """A variant by name; other keywords are those of `FFNetSR`. Earlier files have `mixer` for `mixers`."""
    if scale not in SCALES:
        raise InputError(f"scale {scale}, expected one of {', '.join(map(str, SCALES))}")
    model = FFNetSR(scale, **{**VARIANTS[variant], **with_mixers(network)})
    model.pretrained_cfg = {"architecture": variant, "classifier": "head"}
    return model


def build_ffnet_restore(variant: str, *, scale: int = 1, **network) -> FFNetSR:
    """A variant by name; other keywords are those of `FFNetSR`."""
    model = FFNetSR(scale, **{**RESTORATION_VARIANTS[variant], **network})
    # The layers that depend on the image's channels and the scale: a new start from other weights renews them.
    model.pretrained_cfg = {"architecture": variant, "classifier": ("stem", "head")}
    return model
