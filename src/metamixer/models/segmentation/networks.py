"""Segmentation networks: images in, logits for every pixel out (paper, semantic segmentation).

The FFNet head on FFNet-seg or another backbone, UPerNet on FFNet, and for comparison segmentation_models_pytorch's
U-Net.
"""

import re
from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InputError
from ...mixer import Mixers
from ...ops import fused, with_children
from ..ffnet.backbones import build_backbone
from ..ffnet.parts import STRIDE
from ..published_names import FFNET_NAMES, FFNET_SEG_NAMES, Names, published_name, rename_published, renamed
from .heads import FFNET_HEAD_STRIDES, UPERNET_STRIDES, AuxiliaryHead, FFNetHead, UPerNetHead, segmentation_models

PUBLISHED_NAMES: Names = (
    (r"\.classifier\.", ".conv_seg."),
    (r"^auxiliary_head\.conv\.0\.conv\.", "auxiliary_head.convs.0.conv."),
    (r"^auxiliary_head\.conv\.0\.norm\.", "auxiliary_head.convs.0.bn."),
    (r"^head\.decoder\.psp\.blocks\.(\d)\.1\.", r"decode_head.psp_modules.\1.1."),
    (r"^head\.decoder\.psp\.out_conv\.", "decode_head.bottleneck."),
    (r"^head\.decoder\.fusion_block\.", "decode_head.fpn_bottleneck."),
    (r"^head\.decoder\.(fpn_lateral_blocks|fpn_conv_blocks)\.0\.", r"decode_head.\1.two."),
    (r"^head\.decoder\.(fpn_lateral_blocks|fpn_conv_blocks)\.2\.", r"decode_head.\1.0."),
    (r"^head\.decoder\.(fpn_lateral_blocks|fpn_conv_blocks)\.1\.", r"decode_head.\1.1."),
    (r"fpn_lateral_blocks\.(\w+)\.conv_norm_relu\.", r"lateral_convs.\1."),
    (r"fpn_conv_blocks\.", "fpn_convs."),
    (r"_convs\.two\.", "_convs.2."),
    (
        r"^(decode_head\.(?:psp_modules\.\d\.1|bottleneck|fpn_bottleneck|lateral_convs\.\d|fpn_convs\.\d))\.0\.conv\.",
        r"\1.conv.",
    ),
    (
        r"^(decode_head\.(?:psp_modules\.\d\.1|bottleneck|fpn_bottleneck|lateral_convs\.\d|fpn_convs\.\d))\.0\.norm\.",
        r"\1.bn.",
    ),
    (r"^head\.(?!decoder)", "decode_head."),
)
"""Our name -> the published one, besides the backbone and the FFNet head's blocks; the decoder reverses the levels."""


class SegmentationNetwork(nn.Module):
    """A backbone, a head on its features, and optionally an auxiliary head on one of them for training."""

    def __init__(
        self, backbone: nn.Module, head: nn.Module, *, auxiliary_head: nn.Module | None = None, auxiliary_index: int = 2
    ):
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.auxiliary_head = auxiliary_head
        self.auxiliary_index = auxiliary_index

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, 3, H, W), H and W at least 32 -> logits (B, classes, H, W)."""
        return F.interpolate(self.head(self.backbone(x)), x.shape[2:], mode="bilinear", align_corners=False)

    def forward_heads(self, x: Tensor) -> list[Tensor]:
        """x: (B, 3, H, W) -> logits of the head and the auxiliary head for the loss, each at its own stride."""
        features = self.backbone(x)
        auxiliary = [] if self.auxiliary_head is None else [self.auxiliary_head(features[self.auxiliary_index])]
        return [self.head(features), *auxiliary]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in the backbone."""
        getattr(self.backbone, "model", self.backbone).set_grad_checkpointing(enable)

    def fuse(self) -> nn.Module:
        return with_children(self, backbone=fused(self.backbone), head=fused(self.head), auxiliary_head=None)

    def convert_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A published segmenter's state dict under our names, complete in both directions."""
        names = getattr(getattr(self.backbone, "model", None), "published_names", FFNET_NAMES)
        return rename_published(
            state, self.state_dict(), name_of=partial(published_segmenter_name, backbone_names=names)
        )


def published_segmenter_name(name: str, backbone_names: Names = FFNET_NAMES) -> str:
    """The published key of one of our segmenter's parameters or buffers."""
    prefix = "backbone.model."
    if name.startswith(prefix):
        return "backbone." + published_name(name.removeprefix(prefix), backbone_names)
    if name.startswith(("head.squeeze.", "head.blocks.", "head.align.")):
        part = published_name(name.removeprefix("head."), FFNET_SEG_NAMES).replace("token_mixer.0.", "token_mixer.")
        return "decode_head." + re.sub(r"^blocks\.", "head_blocks.", part)
    return renamed(name, PUBLISHED_NAMES)


class UNet(nn.Module):
    """segmentation_models_pytorch's U-Net on a timm encoder, for comparison with the FFNet head."""

    def __init__(self, unet: nn.Module):
        super().__init__()
        self.unet = unet

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, 3, H, W) of any size -> logits (B, classes, H, W)."""
        height, width = x.shape[2:]
        padded = F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE))
        return self.unet(padded)[:, :, :height, :width]

    def forward_heads(self, x: Tensor) -> list[Tensor]:
        """x: (B, 3, H, W) -> logits (B, classes, H, W)."""
        return [self(x)]


def ffnet_head_network(
    num_classes: int = 150,
    backbone: str = "ffnet_seg",
    *,
    mixers: Mixers | None = None,
    backbone_args: Mapping | None = None,
    head_args: Mapping | None = None,
) -> nn.Module:
    """The paper's head on the features of a backbone at strides 8, 16 and 32.

    mixers: one for the backbone and the head, or one for each stage of the backbone; None: their own. `backbone_args`
    and `head_args`, the keywords of `build_backbone` and `FFNetHead`, can set them separately.
    """
    features = build_backbone(backbone, strides=FFNET_HEAD_STRIDES, **{"mixers": mixers, **(backbone_args or {})})
    shared = {"mixers": mixers} if isinstance(mixers, str) or callable(mixers) else {}
    head = FFNetHead(features.feature_info.channels(), num_classes, **{**shared, **(head_args or {})})
    return SegmentationNetwork(features, head)


def upernet(
    num_classes: int = 150,
    backbone: str = "ffnet_2",
    *,
    mixers: Mixers | None = None,
    backbone_args: Mapping | None = None,
    dim: int = 512,
    auxiliary_dim: int = 256,
) -> nn.Module:
    """UPerNet with its auxiliary head on a backbone's features at strides 4 to 32, normed if the backbone is ours.

    mixers: token mixers of the backbone's stages; None: its own.
    """
    backbone_args = {"feature_norms": True, "mixers": mixers, **(backbone_args or {})}
    features = build_backbone(backbone, strides=UPERNET_STRIDES, **backbone_args)
    dims = features.feature_info.channels()
    return SegmentationNetwork(
        features,
        UPerNetHead(dims, num_classes, dim=dim),
        auxiliary_head=AuxiliaryHead(dims[2], num_classes, dim=auxiliary_dim),
    )


def unet(
    num_classes: int = 150,
    backbone: str = "resnet18",
    *,
    mixers: None = None,
    pretrained: bool = False,
    dims: tuple[int, ...] = (256, 128, 64, 32, 16),
) -> nn.Module:
    """U-Net on the features of a timm network, which takes no mixers; dims: widths of the decoder, coarsest first."""
    if mixers is not None:
        raise InputError(f"mixers {mixers!r}, expected none for a U-Net: its layers are fixed")
    smp = segmentation_models()
    return UNet(
        smp.Unet(
            f"tu-{backbone}",
            encoder_weights="imagenet" if pretrained else None,
            classes=num_classes,
            decoder_channels=tuple(dims),
        )
    )


_NARROW_HEAD = {"dim": 96, "depth": 2, "out_dim": 192, "expansion_ratio": 2}

VARIANTS: dict[str, tuple] = {
    "ffnet_seg_ade20k": (
        ffnet_head_network,
        {
            "num_classes": 150,
            "backbone": "ffnet_seg",
            "head_args": {"depth": 3, "expansion_ratio": 4, "drop_path_rate": 0.1},
        },
    ),
    "ffnet_seg_cityscapes": (
        ffnet_head_network,
        {"num_classes": 19, "backbone": "ffnet_seg", "head_args": {"depth": 5, "expansion_ratio": 1}},
    ),
    "ffnet_head_ffnet_nano": (
        ffnet_head_network,
        {"num_classes": 11, "backbone": "ffnet_nano", "head_args": _NARROW_HEAD},
    ),
    "ffnet_head_ffnet_1": (ffnet_head_network, {"num_classes": 11, "backbone": "ffnet_1", "head_args": _NARROW_HEAD}),
    "upernet_ffnet_1": (upernet, {"backbone": "ffnet_1"}),
    "upernet_ffnet_2": (upernet, {"backbone": "ffnet_2"}),
    "upernet_ffnet_3": (upernet, {"backbone": "ffnet_3"}),
    "upernet_ffnet_4": (upernet, {"backbone": "ffnet_4"}),
    "unet_mobilenetv3_small": (
        unet,
        {"num_classes": 11, "backbone": "mobilenetv3_small_100", "dims": (128, 64, 32, 12, 8)},
    ),
}
"""Builder and default keywords of each variant."""

CLASSIFIERS = ("head.classifier", "auxiliary_head.classifier", "unet.segmentation_head.0")
"""The layers whose size depends on the number of classes."""


def build_segmenter(variant: str, **kwargs) -> nn.Module:
    """A variant's keywords, overridden by the caller's; `head_args` and `backbone_args` are merged key by key."""
    builder, defaults = VARIANTS[variant]
    merged = {
        key: {**defaults[key], **value} if isinstance(defaults.get(key), dict) else value
        for key, value in kwargs.items()
    }
    if merged.get("num_classes", 2) < 2:
        raise InputError(f"num_classes {merged['num_classes']}, expected at least 2")
    network = builder(**{**defaults, **merged})
    network.num_classes = {**defaults, **merged}.get("num_classes", 150)
    network.pretrained_cfg = {"architecture": variant, "classifier": CLASSIFIERS}
    return network
