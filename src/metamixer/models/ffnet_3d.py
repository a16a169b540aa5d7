"""FFNet-3D: voxels with features in, logits for each voxel out (paper, section 4.5 and table 6).

A U-Net of submanifold convolutions with the package's blocks and mixers.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch
from timm.layers import calculate_drop_path_rates
from torch import Tensor, nn

from ..errors import InputError
from ..mixer import ConvNeXtFFN, MixerBlock, Mixers, mixer_of_each, token_mixer, with_mixers
from ..ops import ConvNorm, Operators
from ..ops.sparse import SparseVoxels
from ..ops.voxels import ACTIVATIONS, VOXELS, MaxPool, Unpool
from .published_names import Names, rename_published, renamed


class Merge(nn.Module):
    """Start of a decoder stage: the coarser features, unpooled to the finer voxels, plus the encoder's."""

    def __init__(self, dim: int, skip_dim: int, out_dim: int, operators: Operators):
        super().__init__()
        self.projection = nn.Sequential(
            ConvNorm(operators.conv(dim, out_dim, 1), operators.norm(out_dim)), operators.act()
        )
        self.skip = nn.Sequential(
            ConvNorm(operators.conv(skip_dim, out_dim, 1), operators.norm(out_dim)), operators.act()
        )
        self.unpool = Unpool()

    def forward(self, x: SparseVoxels, skip: SparseVoxels) -> SparseVoxels:
        """x: (M, C) of the coarser voxels, skip: (N, S) of the finer ones -> (N, C')."""
        return self.skip(skip) + self.unpool(self.projection(x), skip.grid)


class FFNet3D(nn.Module):
    """The network for point clouds.

    Args:
        in_chans: features per voxel, such as color and normal.
        num_classes: 0 for the features alone.
        depths, dims: blocks and width of each encoder stage; each stage doubles the size of the voxels.
        decoder_depths, decoder_dims: the same for the decoder, finest first; it has one stage less, or none.
        kernel_size: of the mixers' convolutions; stem_kernel_size: of the first.
        act: of the mixers, "gelu" (published for ScanNet) or "relu" (for S3DIS); the rest of the network has GELU.
        mixers: token mixer of each encoder stage and of the decoder stage of the same resolution, or one for all: a
            name of `metamixer.TOKEN_MIXERS` or a function (dim, kernel_size, operators).
    """

    def __init__(
        self,
        in_chans: int = 6,
        num_classes: int = 0,
        *,
        depths: Sequence[int] = (2, 2, 2, 6, 2),
        dims: Sequence[int] = (32, 64, 128, 256, 512),
        decoder_depths: Sequence[int] = (2, 2, 2, 2),
        decoder_dims: Sequence[int] = (64, 64, 128, 256),
        kernel_size: int = 3,
        stem_kernel_size: int = 5,
        expansion_ratio: float = 4,
        act: str = "gelu",
        mixers: Mixers = "ffnified",
        drop_path_rate: float = 0.0,
        device=None,
        dtype=None,
    ):
        super().__init__()
        if not depths or not len(depths) == len(dims) == len(decoder_depths) + 1 == len(decoder_dims) + 1:
            raise InputError(
                f"depths {depths}, dims {dims}, decoder_depths {decoder_depths}, decoder_dims {decoder_dims}: "
                "expected one entry per stage in each, and one stage less in the decoder"
            )
        if act not in ACTIVATIONS:
            raise InputError(f"act {act!r}, expected one of {', '.join(ACTIVATIONS)}")
        self.in_chans, self.num_classes, self.num_features = in_chans, num_classes, (*decoder_dims, *dims)[0]
        operators = VOXELS.on(device, dtype)
        in_mixers = replace(operators, act=ACTIVATIONS[act])
        mixers = mixer_of_each(mixers, len(depths))

        def blocks(stage: int, dim: int, rates: Sequence[float]) -> nn.Sequential:
            return nn.Sequential(
                *(
                    MixerBlock(
                        token_mixer(mixers[stage], dim, kernel_size=kernel_size, operators=in_mixers),
                        ConvNeXtFFN(dim, kernel_size, in_mixers, expansion_ratio=expansion_ratio),
                        drop_path=rate,
                        operators=in_mixers,
                    )
                    for rate in rates
                )
            )

        stem = operators.conv_norm(in_chans, dims[0], stem_kernel_size)
        self.stem = nn.Sequential(stem, operators.act())
        rates = calculate_drop_path_rates(drop_path_rate, list(depths), stagewise=True)
        self.downsamples = nn.ModuleList(_downsample(dim, wider, operators) for dim, wider in pairwise(dims))
        self.encoder = nn.ModuleList(blocks(i, dim, rates[i]) for i, dim in enumerate(dims))
        rates = calculate_drop_path_rates(drop_path_rate, list(decoder_depths), stagewise=True)
        coarser = (*decoder_dims, dims[-1])[1:]
        self.merges = nn.ModuleList(
            Merge(dim, skip, out_dim, operators)
            for dim, skip, out_dim in zip(coarser, dims[:-1], decoder_dims, strict=True)
        )
        self.decoder = nn.ModuleList(blocks(i, dim, rates[i][::-1]) for i, dim in enumerate(decoder_dims))
        self.head = operators.conv(self.num_features, num_classes, 1) if num_classes else nn.Identity()

    def forward_features(self, x: SparseVoxels) -> SparseVoxels:
        """x: features (N, in_chans) -> (N, num_features) of the same voxels in the same order."""
        if x.features.shape[1] != self.in_chans:
            raise InputError(f"voxels of {x.features.shape[1]} features, expected {self.in_chans}, the network's")
        with torch.autocast(x.features.device.type, enabled=False):  # bfloat16 is too coarse for positions in meters
            x = self.stem(x)
        skips = [self.encoder[0](x)]
        for downsample, stage in zip(self.downsamples, self.encoder[1:], strict=True):
            skips.append(stage(downsample(skips[-1])))
        x = skips.pop()
        for merge, stage, skip in zip(reversed(self.merges), reversed(self.decoder), reversed(skips), strict=True):
            x = stage(merge(x, skip))
        return x

    def forward(self, x: SparseVoxels) -> Tensor:
        """x: features (N, in_chans) -> logits (N, num_classes) of the same voxels in the same order."""
        return self.head(self.forward_features(x)).features

    def convert_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A published state dict under our names (`metamixer.load_published`): a backbone's or a whole segmenter's."""
        plain = {re.sub(r"^(module\.)?(backbone\.)?", "", key): value for key, value in state.items()}
        return rename_published(plain, self.state_dict(), name_of=partial(renamed, names=NAMES))


def _downsample(dim: int, out_dim: int, operators: Operators) -> nn.Module:
    """Linear, maximum over 2x2x2 voxels, norm; the maximum keeps the norm from folding."""
    return nn.Sequential(operators.conv(dim, out_dim, 1), MaxPool(), operators.norm(out_dim), operators.act())


NAMES: Names = (
    (r"^stem\.0\.", "embedding.stem."),
    (r"^head\.", "seg_head."),
    (r"^encoder\.(\d+)\.(\d+)\.", r"enc.enc\1.block\2."),
    (r"^decoder\.(\d+)\.(\d+)\.", r"dec.dec\1.block\2."),
    (r"^downsamples\.(\d+)\.0\.", lambda match: f"enc.enc{int(match[1]) + 1}.down.proj."),
    (r"^downsamples\.(\d+)\.2\.", lambda match: f"enc.enc{int(match[1]) + 1}.down.norm.0."),
    (r"^merges\.(\d+)\.projection\.0\.conv\.", r"dec.dec\1.up.proj.0."),
    (r"^merges\.(\d+)\.projection\.0\.norm\.", r"dec.dec\1.up.proj.1."),
    (r"^merges\.(\d+)\.skip\.0\.conv\.", r"dec.dec\1.up.proj_skip.0."),
    (r"^merges\.(\d+)\.skip\.0\.norm\.", r"dec.dec\1.up.proj_skip.1."),
    (r"token_mixer\.mixer\.query\.0\.", "norm1.0."),
    (r"token_mixer\.mixer\.query\.1\.", "token_mixer.0."),
    (r"token_mixer\.mixer\.key\.conv\.", "token_mixer.1."),
    (r"token_mixer\.mixer\.key\.norm\.", "token_mixer.2."),
    (r"token_mixer\.mixer\.value\.conv\.", "token_mixer.4."),
    (r"token_mixer\.mixer\.value\.norm\.", "token_mixer.5."),
    (r"channel_mixer\.mixer\.query\.0\.", "norm2.0."),
    (r"channel_mixer\.mixer\.query\.1\.conv\.", "channel_mixer.0."),
    (r"channel_mixer\.mixer\.query\.1\.norm\.", "channel_mixer.1."),
    (r"channel_mixer\.mixer\.key\.", "channel_mixer.2.fc1."),
    (r"channel_mixer\.mixer\.value\.", "channel_mixer.2.fc2."),
)
"""Our name -> the published one, as regular expressions applied in this order."""


_NANO = {
    "depths": (1, 1, 1, 1),
    "dims": (16, 32, 64, 96),
    "decoder_depths": (1, 1, 1),
    "decoder_dims": (16, 32, 64),
    "stem_kernel_size": 3,
    "expansion_ratio": 2,
}

VARIANTS: dict[str, dict] = {
    "ffnet_3d": {},
    "ffnet_3d_nano": _NANO,
    "sparse_unet_nano": {**_NANO, "dims": (20, 38, 77, 116), "decoder_dims": (20, 38, 77), "mixers": "convolution"},
}
"""Keywords of each variant; `ffnet_3d` is the paper's, ours are a small one and a sparse U-Net of its size."""


def build_ffnet_3d(variant: str, **network) -> FFNet3D:
    """A variant's keywords, overridden by the caller's. Earlier files have `mixer` for `mixers`."""
    built = FFNet3D(**{**VARIANTS[variant], **with_mixers(network)})
    built.pretrained_cfg = {"architecture": variant, "classifier": "head"}
    return built
