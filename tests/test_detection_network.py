"""Cascade Mask R-CNN: equal to the published detectors, and what every detector guarantees."""

import copy
import json
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

import metamixer
from metamixer.checkpoints.ours import load_initial
from metamixer.errors import InputError
from metamixer.models.cascade_mask_rcnn import paste_masks
from metamixer.models.cascade_mask_rcnn.cascade import STAGES, best_class, refine
from metamixer.models.cascade_mask_rcnn.heads import BOX_GRID, MASK_GRID, region_features
from metamixer.models.cascade_mask_rcnn.network import CascadeMaskRCNN
from published_weights import GOLDEN, image, weight, zeros_as_initialization
from random_statistics import randomize

TOLERANCE = {"rtol": 0, "atol": 1e-4}
SIZES = [(96, 128), (80, 120)]
NARROW_HEADS = {"channels": 16, "hidden_dim": 32}
BACKBONE = {"depths": (1, 1, 1, 1), "dims": (8, 16, 32, 64), "stem_dim": 8}
SMALL = {"num_classes": 3, "backbone": "ffnet_nano", "backbone_args": BACKBONE, **NARROW_HEADS}


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "detection.npz")


def published_shapes(heads: str, backbone: str = "ffnet_2") -> dict[str, list[int]]:
    """Every key of a published detector and its shape."""
    head_shapes = json.loads((GOLDEN / "detection_keys.json").read_text())[f"detector_heads/{heads}"]
    backbone_shapes = json.loads((GOLDEN / "vision_keys.json").read_text())[f"det/{backbone}"]
    return {f"backbone.{key}": shape for key, shape in backbone_shapes.items()} | head_shapes


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """The golden weights of the detector for 80 classes, most of which that for 3 classes shares."""
    return {key: weight(key, shape) for key, shape in published_shapes("80_classes").items()}


def published_detector(published: dict[str, Tensor], num_classes: int, **factors: float) -> nn.Module:
    """A detector on FFNet-2 with the golden weights; factors: layer's name -> the factor of its weight."""
    state = {}
    for key, shape in published_shapes(f"{num_classes}_classes").items():
        shared = key in published and list(published[key].shape) == shape
        state[key] = published[key] if shared else weight(key, shape)
        if key.endswith(".weight") and (factor := factors.get(key.split(".")[-2])):
            state[key] = state[key] * factor
    with zeros_as_initialization():
        network = metamixer.create_model("cascade_mask_rcnn_ffnet_2", num_classes=num_classes)
    return metamixer.load_published(network, {"meta": {"epoch": 36}, "state_dict": state}).eval()


@torch.no_grad()
def test_maps_and_heads_compute_what_the_published_ones_do(golden, published):
    network = published_detector(published, 80)
    levels = network.forward_features(image("rcnn/x", (1, 3, 96, 128)))
    logits, deltas = network.proposals.head(levels)
    for i in range(5):
        np.testing.assert_allclose(levels[i][:, :16], golden[f"rcnn/fpn{i}"], **TOLERANCE)
        np.testing.assert_allclose(logits[i], golden[f"rcnn/rpn_cls{i}"], **TOLERANCE)
        np.testing.assert_allclose(deltas[i], golden[f"rcnn/rpn_reg{i}"], **TOLERANCE)
    rois = torch.from_numpy(golden["rcnn/rois"])
    for i, stage in enumerate(STAGES):
        classes, moves = network.cascade.box_heads[i](region_features(levels, rois, BOX_GRID))
        masks = network.cascade.mask_heads[i](region_features(levels, rois, MASK_GRID))
        (boxes,) = refine(stage.coder, [rois[:, 1:]], [moves], [best_class(classes)], [(96, 128)])
        np.testing.assert_allclose(classes, golden[f"rcnn/stage{i}/cls"], **TOLERANCE)
        np.testing.assert_allclose(moves.flatten(1), golden[f"rcnn/stage{i}/reg"], **TOLERANCE)
        np.testing.assert_allclose(masks[:, :2], golden[f"rcnn/stage{i}/mask_first2classes"], **TOLERANCE)
        np.testing.assert_allclose(boxes, golden[f"rcnn/stage{i}/refined"][:, 1:], **TOLERANCE)


@torch.no_grad()
def test_detections_are_the_published_ones(golden, published):
    network = published_detector(published, 3, fc_cls=40, rpn_cls=40, fc_reg=4)
    batch = image("rcnn3/x", (2, 3, 96, 128))
    images = [batch[i, :, :height, :width] for i, (height, width) in enumerate(SIZES)]
    padded = torch.stack([images[0], nn.functional.pad(images[1], (0, 8, 0, 16))])
    levels = network.forward_features(padded)
    proposals = network.proposals.propose(
        network.proposals(levels), network.proposals.anchors(levels), SIZES, count=1000
    )
    for i in range(2):
        np.testing.assert_allclose(proposals[i][:200], golden[f"rcnn3/image{i}/proposals"][:, :4], **TOLERANCE)
    (found,) = network(images[1:])  # the one that is padded; each takes ten seconds
    boxes, labels, areas = (
        torch.from_numpy(golden[f"rcnn3/image1/{part}"]) for part in ("boxes", "labels", "mask_area")
    )
    same = box_iou(boxes[:, :4], found["boxes"]) > 0.99
    same &= (boxes[:, 4:] - found["scores"]).abs() < 1e-3
    same &= labels[:, None] == found["labels"]
    assert same.any(dim=1).sum() >= 95
    painted = paste_masks(found["masks"], found["boxes"], SIZES[1]).flatten(1).sum(dim=1)
    matched = same.any(dim=1)
    assert (painted[same[matched].int().argmax(dim=1)] - areas[matched]).abs().max() <= 2


def test_proposal_count_limits_the_regions_and_is_twice_as_large_in_training():
    network = CascadeMaskRCNN(**SMALL, proposal_count=7)
    target = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long), "masks": torch.zeros(0, 96, 128)}
    with torch.no_grad(), mock.patch.object(network.cascade, "detect", wraps=network.cascade.detect) as detect:
        network.eval()([torch.randn(3, 96, 128)])
    with torch.no_grad(), mock.patch.object(network.cascade, "losses", wraps=network.cascade.losses) as losses:
        network.train()([torch.randn(3, 96, 128)], [target])
    assert [len(used.call_args.args[1][0]) for used in (detect, losses)] == [7, 14]


@pytest.mark.parametrize("variant", ["ffnet_2", "ffnet_3", "ffnet_4"])
def test_published_checkpoints_are_complete_in_both_directions(variant):
    with torch.device("meta"):
        network = metamixer.create_model(f"cascade_mask_rcnn_{variant}")
        state = {key: torch.empty(shape) for key, shape in published_shapes("80_classes", variant).items()}
        for i, dim in enumerate(metamixer.create_model(variant).feature_info):
            state[f"neck.lateral_convs.{i}.conv.weight"] = torch.empty(256, dim["num_chs"], 1, 1)
    if variant == "ffnet_4":
        state |= {"ema_" + key.replace(".", "_"): tensor for key, tensor in state.items()}
    converted = network.convert_published(state)
    assert converted.keys() == network.state_dict().keys()
    del state["roi_head.mask_head.1.upsample.bias"]
    with pytest.raises(InputError, match=r"1 missing: roi_head\.mask_head\.1\.upsample\.bias"):
        network.convert_published(state)
    with pytest.raises(InputError, match=r"1 unexpected: bbox_head\.extra"):
        network.convert_published(
            {**state, "roi_head.mask_head.1.upsample.bias": torch.empty(256), "bbox_head.extra": torch.empty(1)}
        )


@pytest.fixture
def small():
    """A small detector with weights as after training."""
    torch.manual_seed(0)
    return sharpen(CascadeMaskRCNN(**SMALL))


@torch.no_grad()
def sharpen(network: nn.Module) -> nn.Module:
    """Randomize the statistics as after training, and scale the class weights so that there are detections."""
    randomize(network)
    for head in network.cascade.box_heads:
        head.classes.weight *= 10
    return network


def scene(sizes, *, seed=0):
    """Images of these sizes with two objects each; the box of the first can be chosen."""
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randn(3, *size, generator=generator) for size in sizes]
    targets = []
    for height, width in sizes:
        boxes = torch.tensor(
            [[2.0, 3.0, width * 0.6, height * 0.7], [width * 0.4, height * 0.3, width - 1.0, height - 2.0]]
        )
        masks = torch.zeros(2, height, width, dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
            mask[y1:y2, x1:x2] = 1
        targets.append({"boxes": boxes, "labels": torch.tensor([0, 2]), "masks": masks})
    return images, targets


def without_objects(target):
    return {key: value[:0] for key, value in target.items()}


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[(64, 96)], [(33, 47), (70, 50)], [(20, 150)]])
def test_finds_objects_within_images_of_any_size(small, sizes):
    images, _ = scene(sizes)
    for (height, width), found in zip(sizes, small(images), strict=True):
        count = len(found["scores"])
        assert 0 < count <= 100
        assert found["boxes"].shape == (count, 4)
        assert found["masks"].shape == (count, 28, 28)
        assert (found["boxes"] >= 0).all()
        assert (found["boxes"] <= torch.tensor([width, height, width, height])).all()
        assert (found["scores"].diff() <= 0).all()
        assert (found["scores"] > 0.05).all()
        assert ((found["labels"] >= 0) & (found["labels"] < 3)).all()


@pytest.mark.parametrize("empty", [(True, False), (True, True)])
def test_images_without_objects_train(small, empty):
    images, targets = scene([(64, 96), (96, 64)])
    targets = [without_objects(target) if none else target for target, none in zip(targets, empty, strict=True)]
    small.train()
    losses = small(images, targets)
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert not [
        name
        for name, parameter in small.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all()
    ]
    assert len(losses) == 11
    if all(empty):
        assert all(losses[name] == 0 for name in losses if name.startswith(("box", "mask", "proposal_box")))
        assert losses["class_0"] > 0


@torch.no_grad()
def test_no_detections_are_a_valid_result(small):
    images, _ = scene([(64, 96), (96, 64)])
    for head in small.cascade.box_heads:
        head.classes.bias[-1] = 1e3  # background everywhere
    for found in small(images):
        assert [tuple(found[key].shape) for key in ("boxes", "scores", "labels", "masks")] == [
            (0, 4),
            (0,),
            (0,),
            (0, 28, 28),
        ]
    levels = small.forward_features(torch.zeros(1, 3, 64, 96))
    (found,) = small.cascade.detect(levels, [torch.zeros(0, 4)], [(64, 96)])
    assert found["boxes"].shape == (0, 4)


def test_processes_agree_on_every_gradient_even_for_images_without_objects(small, tmp_path):
    images, targets = scene([(64, 96)])
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        parallel = nn.parallel.DistributedDataParallel(small.train())
        # The second step raises if a parameter had no gradient in the first.
        for target in (without_objects(targets[0]), targets[0], without_objects(targets[0])):
            sum(parallel(images, [target]).values()).backward()
    finally:
        torch.distributed.destroy_process_group()


@torch.no_grad()
def test_synchronized_norms_fuse(small):
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(small))
    assert any(isinstance(module, nn.SyncBatchNorm) for module in synchronised.modules())
    fused = metamixer.fuse(synchronised)
    assert not [name for name, module in fused.named_modules() if isinstance(module, nn.SyncBatchNorm)]
    x = torch.stack(scene([(64, 96)])[0])
    for expected, actual in zip(metamixer.fuse(small).forward_features(x), fused.forward_features(x), strict=True):
        torch.testing.assert_close(actual, expected)


def test_trains_in_bfloat16_and_saves_memory_in_the_backbone(small):
    images, targets = scene([(64, 96), (96, 64)])
    small.train().set_grad_checkpointing()
    with torch.autocast("cpu", torch.bfloat16):
        losses = small(images, targets)
    sum(losses.values()).backward()
    assert all(loss.dtype == torch.float32 and torch.isfinite(loss) for loss in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in small.parameters())


@torch.no_grad()
def test_pyramid_exports_for_any_size(small):
    height, width = (torch.export.Dim(name, min=3) * 32 for name in ("height", "width"))
    shapes = {"x": {2: height, 3: width}}
    program = torch.export.export(small.pyramid, (torch.randn(1, 3, 128, 192),), dynamic_shapes=shapes)
    x = torch.randn(1, 3, 96, 160)
    torch.testing.assert_close(program.module()(x), small.pyramid(x), rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["test_convnext", "resnet10t"])
def test_takes_timms_backbones(backbone):
    network = CascadeMaskRCNN(3, backbone, channels=16, hidden_dim=32).eval()
    levels = network.forward_features(torch.randn(1, 3, 64, 96))
    assert [tuple(level.shape) for level in levels] == [
        (1, 16, 16, 24),
        (1, 16, 8, 12),
        (1, 16, 4, 6),
        (1, 16, 2, 3),
        (1, 16, 1, 2),
    ]


def test_another_number_of_classes_starts_from_a_checkpoint(tmp_path, monkeypatch):
    torch.manual_seed(0)
    published = metamixer.create_model("cascade_mask_rcnn_ffnet_nano", num_classes=80)
    torch.save({"state_dict": published.state_dict()}, tmp_path / "published.pth")
    network = metamixer.create_model("cascade_mask_rcnn_ffnet_nano", num_classes=3)
    own = {key: value.clone() for key, value in network.state_dict().items()}
    load_initial(network, tmp_path / "published.pth", new_classifier=True)
    for key, value in network.state_dict().items():
        source = (
            own
            if ".classes." in key or ".deltas." in key or ("mask_heads" in key and ".logits." in key)
            else published.state_dict()
        )
        assert torch.equal(value, source[key]), key
    with pytest.raises(InputError, match="of another shape"):
        load_initial(network, tmp_path / "published.pth")


def edited(target, **changes):
    return {**target, **changes}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda target: edited(target, boxes=torch.tensor([[2.0, 3, 20, 30], [9, 9, 9, 12]])),
            r"image 0: box 1 is \[9.*expected finite x1 < x2",
        ),
        (
            lambda target: edited(target, boxes=torch.tensor([[2.0, 3, float("nan"), 30], [9, 9, 19, 12]])),
            r"image 0: box 0 is .*nan",
        ),
        (lambda target: edited(target, labels=torch.tensor([0, 3])), "image 0: label 1 is 3, expected 0 to 2"),
        (
            lambda target: edited(target, masks=target["masks"][:, :5]),
            r"image 0: .*masks \[2, 5, 96\], expected \[2, 4\] and \[2, 64, 96\]",
        ),
    ],
)
def test_refuses_objects_without_a_defined_loss(small, change, message):
    images, targets = scene([(64, 96)])
    with pytest.raises(InputError, match=message):
        small(images, [change(targets[0])])


def test_refuses_what_is_no_detector_input():
    network = CascadeMaskRCNN(**SMALL)
    with pytest.raises(InputError, match="0 images, expected at least one"):
        network([])
    with pytest.raises(
        InputError, match=r"one of shape \[1, 64, 64\], expected at least one, each \(3, height, width\)"
    ):
        network([torch.zeros(1, 64, 64)])
    with pytest.raises(InputError, match="1 targets, expected 2"):
        network([torch.zeros(3, 64, 64)] * 2, [without_objects(scene([(64, 64)])[1][0])])
    with pytest.raises(InputError, match="backbone 'ffnet_9': no such model"):
        CascadeMaskRCNN(backbone="ffnet_9")
    with pytest.raises(InputError, match="backbone 'vit_tiny_patch16_224': no features at strides"):
        CascadeMaskRCNN(backbone="vit_tiny_patch16_224")
    with pytest.raises(InputError, match="num_classes 0, expected at least 1"):
        CascadeMaskRCNN(0)
