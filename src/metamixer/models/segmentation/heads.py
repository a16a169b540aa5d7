"""Heads of segmentation networks: features at several strides in, logits at the finest of them out."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InputError, expect_odd
from ...mixer import ConvNeXtFFN, Mixers, Residual, mixer_of_each, token_mixer
from ...ops import IMAGE, IMAGE_WITH_STRIPS, ConvNorm
from ..ffnet.parts import init_weights

UPERNET_STRIDES = (4, 8, 16, 32)
FFNET_HEAD_STRIDES = (8, 16, 32)


class FFNetHead(nn.Module):
    """The paper's segmentation head: features concatenated at the finest stride, mixer blocks, classifier.

    Args:
        feature_dims: channels of each feature, finest first.
        dim, depth: width and number of the blocks; a GELU follows each of their residual sums.
        mixers: a name of `metamixer.TOKEN_MIXERS` or a function (dim, kernel_size, operators); the head is one stage.
        out_dim: input channels of the classifier.
    """

    def __init__(
        self,
        feature_dims: Sequence[int],
        num_classes: int,
        *,
        dim: int = 256,
        depth: int = 3,
        kernel_size: int = 9,
        expansion_ratio: float = 4,
        mixers: Mixers = "ffnified",
        out_dim: int = 1024,
        drop_rate: float = 0.1,
        drop_path_rate: float = 0.0,
    ):
        super().__init__()
        expect_odd("kernel_size", kernel_size)
        total = sum(feature_dims)
        self.squeeze = nn.Sequential(IMAGE.conv_norm(total, total, 1), IMAGE.act(), IMAGE.conv_norm(total, dim, 1))
        (mixer,) = mixer_of_each(mixers, 1)
        self.blocks = nn.Sequential(
            *(
                activated_block(
                    token_mixer(mixer, dim, kernel_size=kernel_size, operators=IMAGE_WITH_STRIPS),
                    ConvNeXtFFN(dim, kernel_size, IMAGE_WITH_STRIPS, expansion_ratio=expansion_ratio),
                    drop_path=drop_path_rate,
                )
                for _ in range(depth)
            )
        )
        self.align = nn.Sequential(IMAGE.conv_norm(dim, out_dim, 1), IMAGE.act())
        self.drop = nn.Dropout2d(drop_rate)
        self.classifier = nn.Conv2d(out_dim, num_classes, 1)
        self.apply(init_weights)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """features: (B, C, H, W) and smaller ones -> logits (B, classes, H, W)."""
        finest, *others = features
        resized = [F.interpolate(feature, finest.shape[2:], mode="bicubic", align_corners=False) for feature in others]
        x = self.squeeze(torch.cat([finest, *resized], dim=1))
        return self.classifier(self.drop(self.align(self.blocks(x))))


def activated_block(token_mixer: nn.Module, channel_mixer: nn.Module, *, drop_path: float) -> nn.Module:
    """The package's block with an activation after each residual sum."""
    return nn.Sequential(
        OrderedDict(
            token_mixer=Residual(token_mixer, drop_path=drop_path),
            token_act=IMAGE.act(),
            channel_mixer=Residual(channel_mixer, drop_path=drop_path),
            channel_act=IMAGE.act(),
        )
    )


class UPerNetHead(nn.Module):
    """UPerNet's head (Xiao et al., 2018): segmentation_models_pytorch's decoder, dropout and classifier."""

    def __init__(self, feature_dims: Sequence[int], num_classes: int, *, dim: int = 512, drop_rate: float = 0.1):
        super().__init__()
        self.decoder = build_upernet_decoder(feature_dims, dim)
        self.drop = nn.Dropout2d(drop_rate)
        self.classifier = nn.Conv2d(dim, num_classes, 1)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """features: at strides 4, 8, 16, 32 -> logits (B, classes, H / 4, W / 4)."""
        return self.classifier(self.drop(self.decoder([*_NO_FINER, *features])))


_NO_FINER = (None, None)
"""The library's decoder skips the features at strides 1 and 2."""


def build_upernet_decoder(feature_dims: Sequence[int], dim: int) -> nn.Module:
    """segmentation_models_pytorch's UPerNet decoder with foldable norms, and none on its input features."""
    smp = segmentation_models()
    decoder = smp.decoders.upernet.decoder.UPerNetDecoder((0, 0, *feature_dims), encoder_depth=5, decoder_channels=dim)
    decoder.feature_norms = nn.ModuleList(nn.Identity() for _ in feature_dims)
    for module in decoder.modules():
        if isinstance(module, smp.base.modules.Conv2dReLU):
            module[0], module[1] = ConvNorm(module[0], module[1]), nn.Identity()
    return decoder


def segmentation_models():
    """Import segmentation_models_pytorch; raises InputError if it isn't installed."""
    try:
        import segmentation_models_pytorch
    except ImportError:
        raise InputError(
            "UPerNet and U-Net need segmentation_models_pytorch: pip install 'metamixer[segmentation]'"
        ) from None
    return segmentation_models_pytorch


class AuxiliaryHead(nn.Module):
    """A small head on one feature, used in training only: a 3x3 convolution, dropout and classifier."""

    def __init__(self, feature_dim: int, num_classes: int, *, dim: int = 256, drop_rate: float = 0.1):
        super().__init__()
        self.conv = nn.Sequential(IMAGE.conv_norm(feature_dim, dim, 3), nn.ReLU())
        self.drop = nn.Dropout2d(drop_rate)
        self.classifier = nn.Conv2d(dim, num_classes, 1)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, feature: Tensor) -> Tensor:
        """feature: (B, C, H, W) -> logits (B, classes, H, W)."""
        return self.classifier(self.drop(self.conv(feature)))
