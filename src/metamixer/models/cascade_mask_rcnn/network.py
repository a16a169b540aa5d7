"""Cascade Mask R-CNN: images in, boxes, classes and masks of objects out (paper, table 4).

Equal to the published detectors, which use mmdet 2.28; this folder has its own code for what torchvision does
differently.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InputError, at_least
from ...mixer import Mixers
from ..ffnet.backbones import build_backbone
from ..published_names import Names, published_name, rename_published, renamed
from .boxes import ANCHOR_SCALE, DIVISOR, Size, check_targets
from .cascade import STAGES, Cascade, Detections, Target
from .proposals import ProposalNetwork
from .pyramid import Pyramid

PUBLISHED_NAMES: Names = (
    (r"^pyramid\.fpn\.inner_blocks\.(\d)\.0\.", r"neck.lateral_convs.\1.conv."),
    (r"^pyramid\.fpn\.layer_blocks\.(\d)\.0\.", r"neck.fpn_convs.\1.conv."),
    (r"^proposals\.head\.conv\.0\.0\.", "rpn_head.rpn_conv."),
    (r"^proposals\.head\.cls_logits\.", "rpn_head.rpn_cls."),
    (r"^proposals\.head\.bbox_pred\.", "rpn_head.rpn_reg."),
    (r"^cascade\.box_heads\.(\d)\.", r"roi_head.bbox_head.\1."),
    (r"^cascade\.mask_heads\.(\d)\.convs\.(\d)\.", r"roi_head.mask_head.\1.convs.\2.conv."),
    (r"^cascade\.mask_heads\.(\d)\.", r"roi_head.mask_head.\1."),
    (r"(bbox_head\.\d)\.convs\.(\d)\.conv\.", r"\1.shared_convs.\2.conv."),
    (r"(bbox_head\.\d)\.convs\.(\d)\.norm\.", r"\1.shared_convs.\2.bn."),
    (r"(bbox_head\.\d)\.hidden\.", r"\1.shared_fcs.0."),
    (r"(bbox_head\.\d)\.classes\.", r"\1.fc_cls."),
    (r"(bbox_head\.\d)\.deltas\.", r"\1.fc_reg."),
    (r"(mask_head\.\d)\.logits\.", r"\1.conv_logits."),
)
"""Our name -> the published one, except the backbone's."""

CLASSIFIERS = tuple(
    f"cascade.{layer}"
    for i in range(len(STAGES))
    for layer in (f"box_heads.{i}.classes", f"box_heads.{i}.deltas", f"mask_heads.{i}.logits")
)
"""The layers whose size depends on the number of classes."""


class CascadeMaskRCNN(nn.Module):
    """The detector; it takes 3-channel images normalized for the backbone.

    Args:
        num_classes: classes of objects, numbered from 0.
        backbone, backbone_args: name of our network or timm's, and keywords for `build_backbone`.
        mixers: token mixers of the backbone's stages, if it is ours; None: its own.
        channels: of the pyramid and the heads; hidden_dim: of the box heads' hidden layer.
        anchor_scale: side of the square anchor in strides of its level; objects of a few pixels need a smaller one.
        proposal_count: regions per image to search for objects; training samples from twice as many.
        proposal_samples, region_samples: anchors, and regions of each stage, sampled per image for training.
    """

    def __init__(
        self,
        num_classes: int = 80,
        backbone: str = "ffnet_2",
        *,
        backbone_args: Mapping | None = None,
        mixers: Mixers | None = None,
        channels: int = 256,
        hidden_dim: int = 1024,
        anchor_scale: float = ANCHOR_SCALE,
        proposal_count: int = 1000,
        proposal_samples: int = 256,
        region_samples: int = 512,
    ):
        super().__init__()
        for name, value in (
            ("num_classes", num_classes),
            ("anchor_scale", anchor_scale),
            ("proposal_count", proposal_count),
        ):
            at_least(name, value, 1)
        self.num_classes = num_classes
        self.proposal_count = proposal_count
        backbone_args = {"feature_norms": True, "mixers": mixers, **(backbone_args or {})}
        self.pyramid = Pyramid(build_backbone(backbone, **backbone_args), channels)
        self.proposals = ProposalNetwork(channels, anchor_scale=anchor_scale, samples=proposal_samples)
        self.cascade = Cascade(channels, hidden_dim, num_classes, samples=region_samples)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> list[Detections] | dict[str, Tensor]:
        """images: (3, H, W) each, of any sizes -> detections in pixels of each image; with targets: the losses by name.

        targets: for each image boxes (N, 4) as x1, y1, x2, y2, labels (N,) and masks (N, H, W); N may be 0.
        """
        batch, sizes = pad_images(images)
        levels = self.forward_features(batch)
        anchors = self.proposals.anchors(levels)
        maps = self.proposals(levels)
        if targets is None:
            regions = self.proposals.propose(maps, anchors, sizes, count=self.proposal_count)
            return self.cascade.detect(levels, regions, sizes)
        check_targets(targets, sizes, self.num_classes)
        regions = self.proposals.propose(maps, anchors, sizes, count=2 * self.proposal_count)
        return self.proposals.losses(maps, anchors, sizes, targets) | self.cascade.losses(
            levels, regions, sizes, targets
        )

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """x: (B, 3, H, W), H and W multiples of 32 -> (B, channels, H / stride, W / stride) at strides 4 to 64."""
        return [level.contiguous() for level in self.pyramid(x)]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in the backbone."""
        backbone = self.pyramid.backbone
        getattr(backbone, "model", backbone).set_grad_checkpointing(enable)

    def convert_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A published detector's state dict under our names, with all keys checked, except FFNet-4's `ema_*` copies."""
        state = {key: value for key, value in state.items() if not key.startswith(("ema_", "backbone.ema_"))}
        return rename_published(state, self.state_dict(), name_of=published_detector_name)


def published_detector_name(name: str) -> str:
    """The published key of one of our detector's parameters or buffers."""
    prefix = "pyramid.backbone.model."
    if name.startswith(prefix):
        return "backbone." + published_name(name.removeprefix(prefix))
    return renamed(name, PUBLISHED_NAMES)


def pad_images(images: Sequence[Tensor]) -> tuple[Tensor, list[Size]]:
    """Pad images (3, H, W) right and bottom to one batch with sides of a multiple of 32; also returns their sizes."""
    wrong = [list(image.shape) for image in images if image.ndim != 3 or image.shape[0] != 3 or not image.numel()]
    if not len(images) or wrong:
        raise InputError(
            f"{len(images)} images{f', one of shape {wrong[0]}' if wrong else ''}, "
            "expected at least one, each (3, height, width)"
        )
    sizes = [(image.shape[1], image.shape[2]) for image in images]
    height, width = (-(-max(sides) // DIVISOR) * DIVISOR for sides in zip(*sizes, strict=True))
    batch = torch.stack([F.pad(image, (0, width - image.shape[2], 0, height - image.shape[1])) for image in images])
    return batch.contiguous(memory_format=torch.channels_last), sizes


VARIANTS: dict[str, dict] = {
    "cascade_mask_rcnn_ffnet_nano": {"backbone": "ffnet_nano", "channels": 64, "hidden_dim": 256},
    "cascade_mask_rcnn_ffnet_2": {"backbone": "ffnet_2"},
    "cascade_mask_rcnn_ffnet_3": {"backbone": "ffnet_3"},
    "cascade_mask_rcnn_ffnet_4": {"backbone": "ffnet_4"},
}
"""Keywords of each variant; `cascade_mask_rcnn_ffnet_nano` is ours, the others are the paper's (table 4)."""


def build_detector(variant: str, **kwargs) -> CascadeMaskRCNN:
    """A variant's keywords, overridden by the caller's."""
    network = CascadeMaskRCNN(**{**VARIANTS[variant], **kwargs})
    network.pretrained_cfg = {"architecture": variant, "classifier": CLASSIFIERS}
    return network
