"""Training and evaluating detectors: what they learn, measure and refuse."""

import numpy as np
import pytest
import torch
from faster_coco_eval import COCO, COCOeval_faster
from lightning import Trainer

import coco_scene
import metamixer
from coco_scene import NARROW, PREPROCESSING
from metamixer.checkpoints.ours import load_checkpoint
from metamixer.data import CocoData, DetectionAugmentation, DetectionPreprocessing
from metamixer.data.detection.coco_json import encode_mask
from metamixer.errors import DivergenceError, InputError, InputWarning
from metamixer.models.cascade_mask_rcnn import CascadeMaskRCNN, to_file
from metamixer.tasks import Detection, DetectionOptimization
from metamixer.tasks.detection import MEASURES, average_precision, coco_numbers
from metamixer.tasks.optimization.detection import BACKBONE
from metamixer.tasks.optimization.parameter_groups import layer_numbers


@pytest.fixture
def data(tmp_path):
    coco_scene.write(tmp_path)
    augmentation = DetectionAugmentation(short_sides=(64,), long_side=96, crop_probability=0.0)
    return CocoData(
        str(tmp_path), **coco_scene.files(), num_workers=0, preprocessing=PREPROCESSING, augmentation=augmentation
    )


def task(**kwargs):
    return Detection(
        "cascade_mask_rcnn_ffnet_nano",
        3,
        model_args=NARROW,
        optimization=DetectionOptimization(lr=1e-3, warmup_steps=0),
        **kwargs,
    )


def trainer(tmp_path, **kwargs):
    return Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **kwargs,
    )


def test_trains_evaluates_and_writes_a_checkpoint_with_its_info(data, tmp_path):
    run = trainer(tmp_path, max_epochs=2)
    run.fit(task(), data)
    numbers = {f"val/{kind}_{name}" for kind in ("box", "mask") for name in MEASURES}
    assert len(numbers) == 24
    assert numbers <= run.callback_metrics.keys()
    assert {"train/loss", "train/proposal_class", "train/mask_2"} <= run.callback_metrics.keys()
    assert torch.isfinite(run.callback_metrics["train/loss"])
    run.save_checkpoint(tmp_path / "last.ckpt")
    network, info = load_checkpoint(tmp_path / "last.ckpt")
    assert info["task"] == "detection"
    assert info["classes"] == ["box", "disc", "triangle"]
    assert info["category_ids"] == [3, 7, 20]
    assert DetectionPreprocessing.from_dict(info["preprocessing"]) == PREPROCESSING
    assert network.num_classes == 3


def test_a_resumed_run_ends_as_an_uninterrupted_one(data, tmp_path):
    """Without validation: it has no influence on the weights."""
    whole = task()
    start = {key: value.clone() for key, value in whole.network.state_dict().items()}
    trainer(tmp_path, max_epochs=2, limit_val_batches=0).fit(whole, data)
    half = task()
    half.network.load_state_dict(start)
    first = trainer(tmp_path, max_epochs=2, limit_val_batches=0)
    first.fit_loop.max_epochs = 1
    first.fit(half, data)
    first.save_checkpoint(tmp_path / "half.ckpt")
    rest = task()
    trainer(tmp_path, max_epochs=2, limit_val_batches=0).fit(
        rest, data, ckpt_path=tmp_path / "half.ckpt", weights_only=True
    )
    for key, value in whole.network.state_dict().items():
        torch.testing.assert_close(rest.network.state_dict()[key], value, rtol=1e-4, atol=1e-5)


def test_ground_truth_as_predictions_scores_one(data):
    measures = average_precision()
    for _, targets in data.val_dataloader():
        targets = [{**target, "masks": target["masks"].bool()} for target in targets]
        found = [
            {
                "boxes": target["boxes"],
                "labels": target["labels"],
                "masks": target["masks"],
                "scores": torch.ones(len(target["labels"])),
            }
            for target in targets
        ]
        measures.update(found, targets)
    numbers = coco_numbers(measures.compute())
    assert len(numbers) == 24
    for name in ("box_ap", "box_ap50", "box_ap75", "mask_ap", "mask_ap50", "mask_ap75", "box_ar100", "mask_ar100"):
        assert numbers[name] == pytest.approx(1.0), name


def test_the_metrics_equal_faster_coco_evals_on_the_files(data, tmp_path):
    generator = torch.Generator().manual_seed(0)
    measures, results = average_precision(), []
    dataset = data.evaluation_dataset("val")
    for image, (_, target) in zip(dataset.images, dataset, strict=True):
        count = len(target["labels"])
        shift = torch.randint(-3, 4, (count, 2), generator=generator)
        boxes = target["boxes"] + shift.repeat(1, 2)
        masks = [
            torch.roll(mask, tuple(step.flip(0).tolist()), (0, 1)).bool()
            for mask, step in zip(target["masks"], shift, strict=True)
        ]
        masks = torch.stack(masks) if masks else target["masks"].bool()
        labels = (target["labels"] + (torch.rand(count, generator=generator) < 0.2)) % 3
        found = {"boxes": boxes, "labels": labels, "masks": masks, "scores": torch.rand(count, generator=generator)}
        measures.update([found], [{**target, "masks": target["masks"].bool()}])
        for (x1, y1, x2, y2), label, mask, score in zip(
            boxes.tolist(), labels.tolist(), masks, found["scores"].tolist(), strict=True
        ):
            entry = {
                "image_id": image.id,
                "category_id": data.category_ids[label],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": score,
            }
            results.append({**entry, "segmentation": encode_mask(mask.numpy())})
    numbers = coco_numbers(measures.compute())
    truth = COCO(str(tmp_path / "objects.json"))
    for kind, iou_type in (("box", "bbox"), ("mask", "segm")):
        evaluation = COCOeval_faster(truth, truth.loadRes([dict(entry) for entry in results]), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        ours = [numbers[f"{kind}_{name}"].item() for name in MEASURES]
        np.testing.assert_allclose(ours, evaluation.stats[:12], atol=1e-6)
        assert 0.05 < ours[0] < 0.95


def test_a_loss_that_is_not_finite_stops_the_training(data, tmp_path):
    broken = task()
    torch.nn.init.constant_(broken.network.cascade.mask_heads[1].logits.bias, float("nan"))
    with pytest.raises(DivergenceError, match=r"training loss is nan at step 0 .*mask_1 nan.*expected a finite number"):
        trainer(tmp_path, max_epochs=1).fit(broken, data)


def test_the_backbone_starts_from_imagenet_weights_and_a_checkpoint_does_not_need_them(monkeypatch):
    asked = []

    def create(name, **kwargs):
        asked.append(kwargs)
        return metamixer.create_model(name, num_classes=3, **NARROW)

    monkeypatch.setattr("metamixer.tasks.task.create_model", create)
    made = Detection(
        "cascade_mask_rcnn_ffnet_nano",
        3,
        model_args={"backbone_args": {"drop_path_rate": 0.1}},
        pretrained_backbone=True,
    )
    assert asked[0]["backbone_args"] == {"drop_path_rate": 0.1, "pretrained": True}
    assert made.model_args == {"backbone_args": {"drop_path_rate": 0.1}, "num_classes": 3}


def test_refuses_another_number_of_categories(data, tmp_path):
    with pytest.raises(InputError, match="num_classes 80, expected 3, the data's number of classes"):
        trainer(tmp_path, max_epochs=1).fit(Detection("cascade_mask_rcnn_ffnet_nano", model_args=NARROW), data)


def test_weights_are_evaluated_on_the_categories_of_their_training(data, tmp_path):
    learner = task()
    learner.loaded_info = {"classes": ["box", "disc", "triangle"], "category_ids": [3, 8, 20]}
    with pytest.raises(
        InputError, match="category id 1 of the data is 7, expected 8, the class that the checkpoint was trained on"
    ):
        trainer(tmp_path).test(learner, data, verbose=False)


@pytest.fixture(scope="module")
def numbers():
    """The layer of each parameter of the published detector."""
    with torch.device("meta"):
        return layer_numbers(metamixer.create_model("cascade_mask_rcnn_ffnet_2"), BACKBONE, 12)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("stem.0.conv.weight", 13),
        ("stages.0.blocks.2.token_mixer.mixer.key.weight", 1),
        ("stages.1.downsample.0.branches.0.conv.weight", 2),
        ("stages.2.downsample.0.branches.0.conv.weight", 3),
        ("stages.2.blocks.1.channel_mixer.mixer.key.weight", 3),
        ("stages.2.blocks.2.channel_mixer.mixer.key.weight", 4),
        ("stages.2.blocks.14.channel_mixer.mixer.key.weight", 8),
        ("stages.3.blocks.0.channel_mixer.mixer.key.weight", 12),
        ("feature_norms.0.weight", 13),
    ],
)
def test_layers_are_numbered_as_published(name, layer, numbers):
    assert numbers[f"{BACKBONE}.{name}"] == layer
    assert numbers["cascade.box_heads.0.hidden.weight"] == 13


def test_a_backbone_without_stages_learns_at_one_rate():
    with pytest.warns(InputWarning, match="layer_decay: Linear has no group_matcher with four stages"):
        optimizer = DetectionOptimization().optimizer(torch.nn.Linear(2, 2))
    assert {group["lr"] for group in optimizer.param_groups} == {1e-4}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": -1.0}, "optimization.lr -1.0, expected a number above 0"),
        ({"weight_decay": -0.1}, "optimization.weight_decay -0.1, expected at least 0"),
        ({"layer_decay": 0.0}, "optimization.layer_decay 0.0, expected a number above 0"),
        ({"warmup_steps": -1}, "optimization.warmup_steps -1, expected at least 0"),
        ({"layers": 0}, "optimization.layers 0, expected at least 1"),
        ({"milestones": (0, 3)}, r"optimization.milestones \[0, 3\], expected epochs above 0"),
    ],
)
def test_optimization_refuses_invalid_settings(values, message):
    with pytest.raises(InputError, match=message):
        DetectionOptimization(**values)


def test_rates_fall_with_the_layer_and_vectors_do_not_decay():
    network = metamixer.create_model("cascade_mask_rcnn_ffnet_nano")
    optimizer = DetectionOptimization().optimizer(network)
    groups = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    assert len(groups) == len(list(network.parameters()))
    stage = network.pyramid.backbone.model.stages[0].blocks[0].channel_mixer.mixer
    assert groups[id(stage.key.weight)]["lr"] == pytest.approx(1e-4 * 0.8**12)
    assert groups[id(stage.key.weight)]["weight_decay"] == 0.05
    assert groups[id(stage.key.bias)]["weight_decay"] == 0
    assert groups[id(network.cascade.box_heads[0].hidden.weight)]["lr"] == 1e-4


def test_schedule_warms_up_and_falls_at_the_milestones():
    optimization = DetectionOptimization(warmup_steps=10, milestones=(2, 3))
    optimizer = optimization.optimizer(torch.nn.Linear(2, 2))
    share = optimization.scheduler(optimizer, steps=3600, steps_per_epoch=100).lr_lambdas[0]
    assert [share(step) for step in (0, 5, 10, 199, 200, 299, 300)] == pytest.approx(
        [0.001, 0.5005, 1, 1, 0.1, 0.1, 0.01]
    )


def test_detectors_are_listed_with_the_image_networks():
    assert "cascade_mask_rcnn_ffnet_2" in metamixer.list_models("detection")
    assert not set(metamixer.list_models("detection")) & set(metamixer.list_models("classification"))
    assert set(metamixer.list_models("detection")) < set(metamixer.list_models())
    assert isinstance(metamixer.create_model("cascade_mask_rcnn_ffnet_nano", num_classes=2), CascadeMaskRCNN)


def test_overfits_a_few_images(data):
    torch.manual_seed(0)
    backbone = {"depths": (1, 1, 1, 1), "dims": (16, 32, 64, 64), "stem_dim": 8}
    samples = {"proposal_samples": 64, "region_samples": 16}
    network = CascadeMaskRCNN(3, "ffnet_nano", backbone_args=backbone, channels=32, hidden_dim=64, **samples).train()
    data.augmentation = DetectionAugmentation(short_sides=(64,), long_side=96, crop_probability=0.0, hflip=0.0)
    shown = [data.training_dataset()[i] for i in range(2)]
    images, targets = zip(*shown, strict=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=60, pct_start=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        sum(network(images, targets).values()).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
        schedule.step()
    measures = average_precision()
    with torch.inference_mode():
        for image, target in [data.evaluation_dataset("val")[i] for i in range(2)]:
            (found,) = network.eval()([image])
            measures.update(
                [to_file(found, image, target["size"].tolist())], [{**target, "masks": target["masks"].bool()}]
            )
    numbers = coco_numbers(measures.compute())
    assert numbers["box_ap50"] > 0.6
    assert numbers["mask_ap50"] > 0.6
