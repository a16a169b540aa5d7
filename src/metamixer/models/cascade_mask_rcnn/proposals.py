"""The region proposal network (Ren et al., 2015): which anchors contain an object of any class."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import batched_nms, clip_boxes_to_image

from .boxes import ANCHOR_SCALE, RATIOS, BoxCoder, Size, boxes_inside, make_anchors
from .matching import match, sample
from .pyramid import STRIDES

NMS_IOU = 0.7
POSITIVE_IOU, NEGATIVE_IOU = 0.7, 0.3
POSITIVE_FRACTION = 0.5
SMOOTH_L1_BETA = 1 / 9
CODER = BoxCoder()

Maps = tuple[Tensor, Tensor]
"""Of all levels, concatenated: logits (B, anchors) and deltas (B, anchors, 4)."""


class ProposalNetwork(nn.Module):
    """Scores and moves the anchors of every level.

    anchor_scale: side of the square anchor in strides of its level; samples: anchors per image sampled for training.
    """

    def __init__(self, channels: int, *, anchor_scale: float = ANCHOR_SCALE, samples: int = 256):
        super().__init__()
        self.head = RPNHead(channels, len(RATIOS))
        self.anchor_scale = anchor_scale
        self.samples = samples

    def forward(self, levels: Sequence[Tensor]) -> list[Maps]:
        """levels: (B, C, H, W) each -> for each level logits (B, anchors) and deltas (B, anchors, 4)."""
        logits, deltas = self.head(list(levels))
        return [
            (score.permute(0, 2, 3, 1).flatten(1).float(), delta.permute(0, 2, 3, 1).reshape(len(delta), -1, 4).float())
            for score, delta in zip(logits, deltas, strict=True)
        ]

    def anchors(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The anchors of each level: (anchors, 4)."""
        return [
            make_anchors(level.shape[2:], stride, scale=self.anchor_scale, device=level.device)
            for level, stride in zip(levels, STRIDES, strict=True)
        ]

    @torch.no_grad()
    def propose(
        self, maps: Sequence[Maps], anchors: Sequence[Tensor], sizes: Sequence[Size], *, count: int
    ) -> list[Tensor]:
        """For each image at most `count` boxes (N, 4), most confident first; the best `count` of each level compete."""
        return [
            self._propose([(logits[i], deltas[i]) for logits, deltas in maps], anchors, size, count=count)
            for i, size in enumerate(sizes)
        ]

    def _propose(self, maps: Sequence[Maps], anchors: Sequence[Tensor], size: Size, *, count: int) -> Tensor:
        boxes, scores, numbers = [], [], []
        for number, ((logits, deltas), references) in enumerate(zip(maps, anchors, strict=True)):
            score, best = logits.sigmoid().sort(descending=True)
            best = best[:count]
            boxes.append(clip_boxes_to_image(CODER.decode(deltas[best], references[best]), size))
            scores.append(score[:count])
            numbers.append(torch.full_like(best, number))
        candidates = torch.cat(boxes)
        solid = (candidates[:, 2:] > candidates[:, :2]).all(dim=1)
        candidates = candidates[solid]
        kept = batched_nms(candidates, torch.cat(scores)[solid], torch.cat(numbers)[solid], NMS_IOU)
        return candidates[kept[:count]]

    def losses(
        self,
        maps: Sequence[Maps],
        anchors: Sequence[Tensor],
        sizes: Sequence[Size],
        targets: Sequence[Mapping[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Cross entropy of object or not and smooth L1 of the deltas, over the sampled anchors of the whole batch."""
        logits, deltas = (torch.cat(parts, dim=1) for parts in zip(*maps, strict=True))
        references = torch.cat(list(anchors))
        class_loss, box_loss, total = logits.sum() * 0, deltas.sum() * 0, 0
        for i, (size, target) in enumerate(zip(sizes, targets, strict=True)):
            inside = boxes_inside(references, size).nonzero().squeeze(1)
            objects = target["boxes"]
            matches = match(
                references[inside], objects, positive=POSITIVE_IOU, negative=NEGATIVE_IOU, rescue=NEGATIVE_IOU
            )
            positive, negative = sample(matches, self.samples, positive_fraction=POSITIVE_FRACTION)
            found, empty = inside[positive], inside[negative]
            chosen = torch.cat([logits[i, found], logits[i, empty]])
            truth = torch.cat([torch.ones_like(found), torch.zeros_like(empty)]).to(chosen.dtype)
            class_loss = class_loss + F.binary_cross_entropy_with_logits(chosen, truth, reduction="sum")
            wanted = CODER.encode(objects[matches[positive]], references[found])
            box_loss = box_loss + F.smooth_l1_loss(deltas[i, found], wanted, beta=SMOOTH_L1_BETA, reduction="sum")
            total += max(len(found), 1) + max(len(empty), 1)
        return {"proposal_class": class_loss / total, "proposal_box": box_loss / total}
