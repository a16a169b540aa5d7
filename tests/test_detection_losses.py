"""Parts of the detector: boxes, matching and masks. The training losses equal mmdet 2.28's."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from metamixer.models.cascade_mask_rcnn.boxes import BoxCoder, make_anchors
from metamixer.models.cascade_mask_rcnn.cascade import Cascade
from metamixer.models.cascade_mask_rcnn.heads import region_features
from metamixer.models.cascade_mask_rcnn.masks import crop_masks, paste_masks
from metamixer.models.cascade_mask_rcnn.matching import BACKGROUND, BETWEEN, match, sample
from metamixer.models.cascade_mask_rcnn.network import published_detector_name
from metamixer.models.cascade_mask_rcnn.proposals import ProposalNetwork
from published_weights import GOLDEN, image, weight

SIZES = [(96, 128), (80, 120)]
LEVELS = [(24, 32), (12, 16), (6, 8), (3, 4), (2, 2)]
OBJECTS = [
    [
        (10.0, 8.0, 60.5, 70.0, 2),
        (50.0, 30.0, 120.0, 90.0, 0),
        (5.0, 60.0, 30.0, 94.0, 1),
        (100.0, 2.0, 127.0, 40.0, 2),
    ],
    [(20.0, 15.0, 110.0, 79.0, 1)],
]
"""For each image: x1, y1, x2, y2, label. The mask is an ellipse slightly larger than the box, clipped to it."""
CASES = {"objects": OBJECTS, "one_empty": [OBJECTS[0], []], "empty": [[], []]}
SCALES = {"fc_cls": 40, "rpn_cls": 40, "fc_reg": 4}
NAMES = {
    "proposal_class": "loss_rpn_cls",
    "proposal_box": "loss_rpn_bbox",
    **{
        f"{ours}_{i}": f"s{i}.{theirs}"
        for i in range(3)
        for ours, theirs in (("class", "loss_cls"), ("box", "loss_bbox"), ("mask", "loss_mask"))
    },
}


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "detection.npz")


def filled(module: nn.Module, prefix: str) -> nn.Module:
    """A detector with the golden weights, by their published names."""
    state = {}
    for name, tensor in module.state_dict().items():
        key = published_detector_name(prefix + name)
        state[name] = weight(key, list(tensor.shape)) * (
            SCALES.get(key.split(".")[-2], 1) if key.endswith(".weight") else 1
        )
    module.load_state_dict(state)
    return module.train()


def target(objects, size):
    y, x = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    masks = torch.zeros(len(objects), *size, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2, _) in zip(masks, objects, strict=True):
        ellipse = ((x - (x1 + x2) / 2) / ((x2 - x1) / 2)) ** 2 + ((y - (y1 + y2) / 2) / ((y2 - y1) / 2)) ** 2 <= 1.2
        mask[ellipse & (x >= x1) & (x <= x2) & (y >= y1) & (y <= y2)] = 1
    boxes = torch.tensor([each[:4] for each in objects]).reshape(-1, 4)
    return {"boxes": boxes, "labels": torch.tensor([each[4] for each in objects], dtype=torch.long), "masks": masks}


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_the_published_ones(case, golden):
    levels = [image(f"losses/level{i}", (2, 16, *size)).requires_grad_() for i, size in enumerate(LEVELS)]
    targets = [target(objects, size) for objects, size in zip(CASES[case], SIZES, strict=True)]
    # All anchors and regions are sampled, so nothing is random.
    proposals, cascade = (
        filled(ProposalNetwork(16, samples=10**6), "proposals."),
        filled(Cascade(16, 32, 3, samples=10**6), "cascade."),
    )
    maps, anchors = proposals(levels), proposals.anchors(levels)
    regions = proposals.propose(maps, anchors, SIZES, count=2000)
    losses = proposals.losses(maps, anchors, SIZES, targets) | cascade.losses(levels, regions, SIZES, targets)
    assert losses.keys() == NAMES.keys()
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(float(golden[f"losses/{case}/{NAMES[name]}"]), abs=5e-6), name
    sum(losses.values()).backward()
    for part, module, prefix in (("rpn", proposals, "proposals."), ("roi", cascade, "cascade.")):
        expected = dict(
            zip(
                golden[f"losses/names/{part}"].tolist(), golden[f"losses/{case}/gradients/{part}"].tolist(), strict=True
            )
        )
        for name, parameter in module.named_parameters():
            key = published_detector_name(prefix + name).split(".", 1)[1]
            assert parameter.grad.norm().item() == pytest.approx(expected[key], rel=1e-3, abs=1e-5), name
    for level, norm in zip(levels, golden[f"losses/{case}/gradients/levels"], strict=True):
        assert level.grad.norm().item() == pytest.approx(float(norm), rel=1e-4, abs=1e-7)


def test_decoding_inverts_encoding():
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 20, 2, 2, generator=generator) * 100
    boxes, references = (torch.cat([part.amin(dim=1), part.amax(dim=1) + 1], dim=1) for part in corners)
    coder = BoxCoder((0.1, 0.1, 0.2, 0.2))
    torch.testing.assert_close(coder.decode(coder.encode(boxes, references), references), boxes, rtol=1e-4, atol=1e-3)


def test_a_side_changes_by_a_factor_of_62_and_a_half_at_most():
    reference = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    large, small = (BoxCoder().decode(torch.tensor([[0.0, 0.0, value, value]]), reference) for value in (99.0, -99.0))
    assert (large[0, 2] - large[0, 0]).item() == pytest.approx(625)
    assert (small[0, 2] - small[0, 0]).item() == pytest.approx(0.16)


def test_anchors_are_not_rounded_and_keep_their_stride():
    anchors = make_anchors((2, 3), 64, device=torch.device("cpu")).view(2, 3, 3, 4)
    width = 8 * 64 / math.sqrt(0.5)
    torch.testing.assert_close(anchors[0, 0, 0], torch.tensor([-width / 2, -width / 4, width / 2, width / 4]))
    torch.testing.assert_close(anchors[1, 2] - anchors[0, 0], torch.tensor([128.0, 64, 128, 64]).expand(3, 4))


def test_boxes_find_their_objects():
    objects = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 16], [0, 0, 10, 25], [19, 15, 33, 31], [40, 40, 50, 50]])
    assert match(boxes, objects, positive=0.7, negative=0.5).tolist() == [
        0,
        BETWEEN,
        BACKGROUND,
        BACKGROUND,
        BACKGROUND,
    ]
    assert match(boxes, objects, positive=0.7, negative=0.5, rescue=0.3).tolist() == [
        0,
        BETWEEN,
        BACKGROUND,
        1,
        BACKGROUND,
    ]
    assert match(boxes, objects[:0], positive=0.7, negative=0.5, rescue=0.3).tolist() == [BACKGROUND] * 5
    assert match(boxes[:0], objects, positive=0.7, negative=0.5, rescue=0.3).tolist() == []


def test_samples_are_mostly_background():
    matches = torch.tensor([3] * 50 + [BACKGROUND] * 100 + [BETWEEN] * 30)
    positive, negative = sample(matches, 40, positive_fraction=0.25)
    assert len(positive) == 10
    assert len(negative) == 30
    assert (matches[positive] == 3).all()
    assert (matches[negative] == BACKGROUND).all()
    positive, negative = sample(matches[40:60], 40, positive_fraction=0.5)
    assert (len(positive), len(negative)) == (10, 10)


def test_regions_are_read_from_the_level_of_their_size():
    levels = [torch.full((1, 2, 128 // 2**i, 128 // 2**i), float(i)) for i in range(5)]
    sides = [10, 111, 113, 223, 225, 447, 449, 511]
    rois = torch.tensor([[0.0, 0, 0, side, side] for side in sides])
    assert region_features(levels, rois, 7)[:, 0, 3, 3].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_regions_keep_their_position_with_bfloat16_features():
    ramp = torch.arange(128.0).expand(1, 1, 128, 128) / 128
    levels = [ramp[..., :: 2**i, :: 2**i].to(torch.bfloat16) for i in range(5)]
    rois = torch.tensor([[0.0, 300.3, 20.7, 341.9, 55.1], [0.0, 401.2, 300.9, 470.6, 380.2]])
    features = region_features(levels, rois, 7)
    expected = region_features([level.float() for level in levels], rois, 7)
    assert torch.equal(features, expected.to(torch.bfloat16))


def test_a_pasted_mask_covers_the_original():
    size = (60, 80)
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    masks = torch.stack([(x - 30) ** 2 + (y - 25) ** 2 < 15**2, (x + y > 40) & (x < 70)]).to(torch.uint8)
    boxes = torch.tensor([[14.5, 9.2, 46.0, 41.0], [-3.0, 0.0, 81.0, 60.0]])
    cut = crop_masks(masks, boxes, torch.tensor([0, 1]), 28)
    assert cut.unique().tolist() == [0, 1]
    pasted = paste_masks(cut, boxes.clamp(min=0), size)
    overlap = (pasted & masks.bool()).flatten(1).sum(dim=1) / (pasted | masks.bool()).flatten(1).sum(dim=1)
    assert (overlap > 0.93).all()


def test_a_mask_of_a_box_outside_the_image_is_empty():
    boxes = torch.tensor([[90.0, 10, 120, 40], [5, 5, 5, 9]])
    assert not paste_masks(torch.ones(2, 28, 28), boxes, (50, 80)).any()
