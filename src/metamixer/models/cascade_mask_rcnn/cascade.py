"""Three stages; each refines the boxes of the previous one and requires a higher IoU (Cai and Vasconcelos, 2018)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import batched_nms, clip_boxes_to_image, generalized_box_iou_loss

from .boxes import BoxCoder, Size, with_image_index
from .heads import BOX_GRID, MASK_GRID, MASK_SIZE, BoxHead, MaskHead, region_features
from .masks import crop_masks
from .matching import match, sample

SCORE_THRESHOLD = 0.05
NMS_IOU = 0.5
DETECTIONS = 100
POSITIVE_FRACTION = 0.25
BOX_LOSS_WEIGHT = 10.0

Target = Mapping[str, Tensor]
"""The objects of an image: boxes (N, 4), labels (N,), masks (N, H, W)."""
Detections = dict[str, Tensor]
"""Detections in an image: boxes (N, 4), scores (N,), labels (N,), masks (N, 28, 28): probabilities within the boxes."""


@dataclass(frozen=True)
class CascadeStage:
    """iou: at least this for a box to match an object; weight: of the stage's losses."""

    iou: float
    coder: BoxCoder
    weight: float


STAGES = (
    CascadeStage(0.5, BoxCoder((0.1, 0.1, 0.2, 0.2)), 1.0),
    CascadeStage(0.6, BoxCoder((0.05, 0.05, 0.1, 0.1)), 0.5),
    CascadeStage(0.7, BoxCoder((0.033, 0.033, 0.067, 0.067)), 0.25),
)


@dataclass(frozen=True)
class RegionSample:
    """The regions of an image that a stage is trained on: first those that match an object, then background.

    boxes: (N, 4); objects: (P,) index of the object that each of the first matches; given: (P,) whether the box is the
    object's own.
    """

    boxes: Tensor
    objects: Tensor
    given: Tensor


class Cascade(nn.Module):
    """Box and mask heads of the three stages.

    samples: regions per image that each stage is trained on.
    """

    def __init__(self, channels: int, hidden_dim: int, num_classes: int, *, samples: int = 512):
        super().__init__()
        self.box_heads = nn.ModuleList(BoxHead(channels, hidden_dim, num_classes) for _ in STAGES)
        self.mask_heads = nn.ModuleList(MaskHead(channels, num_classes) for _ in STAGES)
        self.samples = samples

    def detect(self, levels: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Sequence[Size]) -> list[Detections]:
        """levels: (B, C, H, W) each; proposals: (N, 4) of each image -> detections per image, most confident first."""
        boxes = list(proposals)
        counts = [len(each) for each in boxes]
        total = 0
        for stage, head in zip(STAGES, self.box_heads, strict=True):
            logits, deltas = head(region_features(levels, with_image_index(boxes), BOX_GRID))
            total = total + logits
            last = boxes
            boxes = refine(
                stage.coder, last, deltas.split(counts), [best_class(part) for part in logits.split(counts)], sizes
            )
        probabilities = (total / len(STAGES)).softmax(dim=1).split(counts)
        found = [
            select(each, clip_boxes_to_image(STAGES[-1].coder.decode(delta, start[:, None]), size))
            for each, delta, start, size in zip(probabilities, deltas.split(counts), last, sizes, strict=True)
        ]
        return self._with_masks(levels, found)

    def _with_masks(self, levels: Sequence[Tensor], found: list[Detections]) -> list[Detections]:
        features = region_features(levels, with_image_index([each["boxes"] for each in found]), MASK_GRID)
        labels = torch.cat([each["labels"] for each in found])
        index = torch.arange(len(labels), device=labels.device)
        masks = sum(head(features)[index, labels].sigmoid() for head in self.mask_heads) / len(STAGES)
        for each, mask in zip(found, masks.split([len(each["boxes"]) for each in found]), strict=True):
            each["masks"] = mask
        return found

    def losses(
        self, levels: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Sequence[Size], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Class, box and mask loss of each stage, weighted."""
        losses = {}
        boxes = list(proposals)
        for i, (stage, box_head, mask_head) in enumerate(zip(STAGES, self.box_heads, self.mask_heads, strict=True)):
            samples = [self._sample(each, target, stage) for each, target in zip(boxes, targets, strict=True)]
            starts = [one.boxes for one in samples]
            logits, deltas = box_head(region_features(levels, with_image_index(starts), BOX_GRID))
            labels = [
                sample_labels(one, target, logits.shape[1] - 1) for one, target in zip(samples, targets, strict=True)
            ]
            losses[f"class_{i}"] = stage.weight * class_loss(logits, torch.cat(labels))
            losses[f"box_{i}"] = (
                stage.weight * BOX_LOSS_WEIGHT * box_loss(stage.coder, deltas, samples, labels, targets)
            )
            mask_rois = with_image_index([one.boxes[: len(one.objects)] for one in samples])
            mask_logits = mask_head(region_features(levels, mask_rois, MASK_GRID))
            losses[f"mask_{i}"] = stage.weight * mask_loss(mask_logits, samples, labels, targets)
            boxes = next_boxes(stage.coder, samples, labels, logits.detach(), deltas.detach(), sizes)
        return losses

    @torch.no_grad()
    def _sample(self, boxes: Tensor, target: Target, stage: CascadeStage) -> RegionSample:
        """Sample from the proposals and the ground-truth boxes, so that training doesn't depend on early proposals."""
        objects = target["boxes"]
        matches = match(boxes, objects, positive=stage.iou, negative=stage.iou)
        matches = torch.cat([torch.arange(len(objects), device=matches.device), matches])
        boxes = torch.cat([objects.to(boxes.dtype), boxes])
        positive, negative = sample(matches, self.samples, positive_fraction=POSITIVE_FRACTION)
        return RegionSample(boxes[torch.cat([positive, negative])], matches[positive], positive < len(objects))


def best_class(logits: Tensor) -> Tensor:
    """logits: (N, classes + 1), the background last -> (N,) the most likely class except background."""
    return logits[:, :-1].argmax(dim=1)


@torch.no_grad()
def refine(
    coder: BoxCoder, boxes: Sequence[Tensor], deltas: Sequence[Tensor], labels: Sequence[Tensor], sizes: Sequence[Size]
) -> list[Tensor]:
    """Apply to the boxes (N, 4) of each image the deltas (N, classes, 4) of labels (N,), and clip them to the image."""
    return [
        clip_boxes_to_image(coder.decode(delta[torch.arange(len(label), device=label.device), label], start), size)
        for start, delta, label, size in zip(boxes, deltas, labels, sizes, strict=True)
    ]


def select(probabilities: Tensor, boxes: Tensor) -> Detections:
    """probabilities: (N, classes + 1), boxes: (N, classes, 4) -> detections after NMS within each class."""
    scores = probabilities[:, :-1]
    region, label = (scores > SCORE_THRESHOLD).nonzero(as_tuple=True)
    scores, boxes = scores[region, label], boxes[region, label]
    kept = batched_nms(boxes, scores, label, NMS_IOU)[:DETECTIONS]
    return {"boxes": boxes[kept], "scores": scores[kept], "labels": label[kept]}


def sample_labels(one: RegionSample, target: Target, background: int) -> Tensor:
    """The class of each sampled region: (N,)."""
    labels = one.objects.new_full((len(one.boxes),), background)
    labels[: len(one.objects)] = target["labels"][one.objects]
    return labels


def class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy over all sampled regions: scalar."""
    return F.cross_entropy(logits, labels, reduction="sum") / max(len(labels), 1)


def box_loss(
    coder: BoxCoder,
    deltas: Tensor,
    samples: Sequence[RegionSample],
    labels: Sequence[Tensor],
    targets: Sequence[Target],
) -> Tensor:
    """Generalized IoU loss of the decoded, unclipped boxes of the objects' classes over all sampled regions: scalar."""
    counts = [len(one.boxes) for one in samples]
    total = deltas.sum() * 0
    for one, delta, label, target in zip(samples, deltas.split(counts), labels, targets, strict=True):
        number = len(one.objects)
        index = torch.arange(number, device=label.device)
        boxes = coder.decode(delta[index, label[:number]], one.boxes[:number])
        total = total + generalized_box_iou_loss(boxes, target["boxes"][one.objects].to(boxes.dtype), reduction="sum")
    return total / max(sum(counts), 1)


def mask_loss(
    logits: Tensor, samples: Sequence[RegionSample], labels: Sequence[Tensor], targets: Sequence[Target]
) -> Tensor:
    """Cross entropy of the masks (P, classes, 28, 28) of the objects' classes: scalar, 0 if no region matches."""
    if not len(logits):
        return logits.sum()
    wanted = torch.cat(
        [
            crop_masks(target["masks"], one.boxes[: len(one.objects)], one.objects, MASK_SIZE)
            for one, target in zip(samples, targets, strict=True)
        ]
    )
    label = torch.cat([each[: len(one.objects)] for one, each in zip(samples, labels, strict=True)])
    return F.binary_cross_entropy_with_logits(logits[torch.arange(len(label), device=label.device), label], wanted)


def next_boxes(
    coder: BoxCoder,
    samples: Sequence[RegionSample],
    labels: Sequence[Tensor],
    logits: Tensor,
    deltas: Tensor,
    sizes: Sequence[Size],
) -> list[Tensor]:
    """The regions of the next stage: the sampled ones refined by their class, without the ground-truth boxes."""
    counts = [len(one.boxes) for one in samples]
    background = logits.shape[1] - 1
    classes = [
        torch.where(label == background, best_class(part), label)
        for label, part in zip(labels, logits.split(counts), strict=True)
    ]
    moved = refine(coder, [one.boxes for one in samples], deltas.split(counts), classes, sizes)
    return [
        torch.cat([boxes[: len(one.given)][~one.given], boxes[len(one.given) :]])
        for one, boxes in zip(samples, moved, strict=True)
    ]
