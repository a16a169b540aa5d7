"""Training and evaluating detectors, and `metamixer detect`: what they compute, write and refuse."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from faster_coco_eval import COCO, COCOeval_faster
from lightning import Trainer
from PIL import Image
from torchvision.ops import box_iou

import coco_scene
import metamixer
from metamixer.checkpoints.ours import load_checkpoint, network_info, save_network
from metamixer.cli import main, plain_warnings
from metamixer.data import CocoData, DetectionAugmentation, DetectionPreprocessing
from metamixer.data.detection.categories import coco_categories
from metamixer.data.detection.coco_json import decode_mask, encode_mask
from metamixer.errors import DivergenceError, InputError, InputWarning
from metamixer.models.cascade_mask_rcnn import CascadeMaskRCNN, to_file
from metamixer.predictors.detector import Detector, image_ids
from metamixer.tasks import Detection, DetectionOptimization
from metamixer.tasks.detection import MEASURES, average_precision, coco_numbers
from metamixer.tasks.optimization.detection import BACKBONE
from metamixer.tasks.optimization.parameter_groups import layer_numbers
from random_statistics import randomize

NARROW = {
    "backbone_args": {"depths": (1, 1, 1, 1), "dims": (8, 16, 32, 64), "stem_dim": 8},
    "channels": 16,
    "hidden_dim": 32,
}
PREPROCESSING = DetectionPreprocessing(short_side=64, long_side=96)


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


@pytest.fixture
def checkpoint(tmp_path):
    """The checkpoint of a small detector that detects objects everywhere."""
    torch.manual_seed(0)
    network = randomize(metamixer.create_model("cascade_mask_rcnn_ffnet_nano", num_classes=3, **NARROW))
    with torch.no_grad():
        for head in network.cascade.box_heads:
            head.classes.weight *= 10
    info = network_info(
        "cascade_mask_rcnn_ffnet_nano",
        {"num_classes": 3, **NARROW},
        task="detection",
        classes=["box", "disc", "triangle"],
        preprocessing=PREPROCESSING.as_dict(),
    )
    save_network(network, {**info, "category_ids": [3, 7, 20]}, tmp_path / "detector.safetensors")
    return tmp_path / "detector.safetensors"


def test_detect_writes_images_and_cocos_results(checkpoint, tmp_path, capsys):
    path = coco_scene.write(tmp_path)
    Image.new("L", (71, 33), 90).save(tmp_path / "images" / "000000000777.jpg")
    out = tmp_path / "found"
    given = [str(tmp_path / "images"), str(tmp_path / "images" / "000000000777.jpg")]
    assert main(["detect", *given, "--checkpoint", str(checkpoint), "--out", str(out), "--score_threshold", "0.1"]) == 0
    printed = capsys.readouterr().out
    pictures = sorted(path.name for path in out.glob("*.jpg"))
    assert pictures == [f"{i:012d}.jpg" for i in (0, 1, 2, 3, 777)]
    assert Image.open(out / "000000000777.jpg").size == (71, 33)
    entries = json.loads((out / "detections.json").read_text())
    assert {entry["image_id"] for entry in entries} <= {0, 1, 2, 3, 777}
    assert len(entries) > 5
    for entry in entries:
        assert entry["category_id"] in (3, 7, 20)
        assert entry["picture"] == f"{entry['image_id']:012d}.jpg"
        assert entry["score"] >= 0.1
        x, y, width, height = entry["bbox"]
        high, wide = entry["segmentation"]["size"]
        assert 0 <= x <= x + width <= wide + 0.02
        assert 0 <= y <= y + height <= high + 0.02
        assert decode_mask(entry["segmentation"], (high, wide)).shape == (high, wide)
    assert str(tmp_path / "images" / "000000000777.jpg") in printed
    assert path.is_file()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["000005.jpg", "7.png"], [5, 7]),
        (["b.jpg", "a.jpg"], [1, 2]),
        (["5.jpg", "a.jpg"], "a.jpg"),
        (["x/5.jpg", "y/005.jpg", "7.jpg"], "y/005.jpg"),
    ],
)
def test_images_are_numbered_by_their_names_or_counted_with_a_warning(names, expected):
    paths = [Path(name) for name in names]
    if isinstance(expected, list):
        assert image_ids(paths) == expected
        return
    with pytest.warns(InputWarning, match=f"^{expected}: not named by a unique number, so image_id counts the images"):
        assert image_ids(paths) == list(range(1, len(names) + 1))


def test_an_unreadable_image_does_not_stop_the_others(checkpoint, tmp_path, capsys):
    coco_scene.write(tmp_path)
    broken = tmp_path / "images" / "000000000001.png"
    broken.write_bytes(broken.read_bytes()[:150])
    command = ["detect", str(tmp_path / "images"), "--checkpoint", str(checkpoint), "--out", str(tmp_path / "found")]
    assert main(command) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"metamixer: failed: {broken}: not a readable image")
    assert said[1] == f"metamixer: error: 1 of 4 files failed, named above; the others are in {tmp_path / 'found'}"
    assert sorted(path.name for path in (tmp_path / "found").glob("*.jpg")) == [f"{i:012d}.jpg" for i in (0, 2, 3)]
    assert {entry["image_id"] for entry in json.loads((tmp_path / "found" / "detections.json").read_text())} <= {
        0,
        2,
        3,
    }
    assert main(command) == 2
    assert "000000000000.jpg: exists, expected another name or folder, or --overwrite" in capsys.readouterr().err
    broken.unlink()
    assert main([*command, "--overwrite"]) == 0


def test_detect_equals_the_network_on_the_image(checkpoint, tmp_path):
    coco_scene.write(tmp_path)
    picture = Image.open(tmp_path / "images" / "000000000000.png").resize((192, 128))
    network, _ = load_checkpoint(checkpoint)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    with torch.inference_mode():
        (expected,) = network([PREPROCESSING(pixels)])
    found = Detector.load(checkpoint=checkpoint)(picture)
    assert len(found["scores"]) == len(expected["scores"])
    assert found["masks"].shape == (len(found["scores"]), 128, 192)
    overlap, partner = box_iou(expected["boxes"] * 2, found["boxes"]).max(dim=1)
    same = (overlap > 0.99) & (found["labels"][partner] == expected["labels"])
    same &= (found["scores"][partner] - expected["scores"]).abs() < 1e-3
    assert same.float().mean() >= 0.95  # rounding in the fused network can decide which of two boxes NMS keeps


def test_bfloat16_finds_about_the_same(checkpoint, tmp_path):
    coco_scene.write(tmp_path)
    picture = tmp_path / "images" / "000000000000.png"
    exact, fast = (Detector.load(checkpoint=checkpoint, precision=name)(picture)["scores"] for name in ("fp32", "bf16"))
    assert not torch.equal(exact, fast)
    torch.testing.assert_close(fast[:5], exact[:5], rtol=0.1, atol=0.05)


def test_detector_of_a_published_checkpoint_knows_cocos_categories(tmp_path):
    torch.manual_seed(0)
    network = metamixer.create_model("cascade_mask_rcnn_ffnet_nano")
    torch.save({"state_dict": network.state_dict()}, tmp_path / "published.pth")
    detector = Detector.load(model="cascade_mask_rcnn_ffnet_nano", checkpoint=tmp_path / "published.pth")
    assert len(detector.classes) == 80
    assert (detector.category_ids[0], detector.classes[0]) == (1, "person")
    assert (detector.category_ids[-1], detector.classes[-1]) == (90, "toothbrush")
    assert list(coco_categories()) == detector.category_ids
    assert detector.preprocessing == DetectionPreprocessing()


def test_fuse_writes_a_deploy_form_that_detects_the_same(checkpoint, tmp_path, capsys):
    coco_scene.write(tmp_path)
    out = tmp_path / "fused.safetensors"
    assert main(["fuse", str(checkpoint), "--out", str(out)]) == 0
    assert "parity" in capsys.readouterr().out
    picture = tmp_path / "images" / "000000000001.png"
    original, fused = (Detector.load(checkpoint=path)(picture) for path in (checkpoint, out))
    torch.testing.assert_close(fused["scores"], original["scores"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["detect", "{images}", "--checkpoint", "{checkpoint}", "--out", "{out}", "--score_threshold", "2"],
            "threshold 2.0, expected",
        ),
        (
            ["detect", "{images}", "--checkpoint", "{checkpoint}", "--out", "{out}", "--precision", "fp16"],
            "'fp16', expected one of fp32, bf16",
        ),
        (
            ["detect", "{images}/nothing.jpg", "--checkpoint", "{checkpoint}", "--out", "{out}"],
            "nothing.jpg: no such file",
        ),
        (
            ["detect", "{images}", "--checkpoint", "{classifier}", "--out", "{out}"],
            "for classification, expected one for detection",
        ),
        (["predict", "{images}", "--checkpoint", "{checkpoint}"], "for detection, expected one for classification"),
        (["draw", "{checkpoint}"], "for detection, expected one for classification"),
        (
            ["detect", "{images}", "--model", "ffnet_1", "--checkpoint", "{published}", "--out", "{out}"],
            "model 'ffnet_1', expected a detector",
        ),
        (
            ["detect", "{photos}", "--checkpoint", "{checkpoint}", "--out", "{photos}"],
            "photo.jpg: is one of the inputs, expected another",
        ),
        (
            ["detect", "{images}", "--checkpoint", "{checkpoint}", "--out", "{earlier}"],
            "detections.json: exists, expected another name",
        ),
        (
            ["detect", "{photos}", "--checkpoint", "{checkpoint}", "--out", "{out}", "--max_pixels", "99"],
            "more than 99 pixels, expected",
        ),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, said, checkpoint, tmp_path, capsys):
    coco_scene.write(tmp_path)
    info = network_info("ffnet_nano", {"num_classes": 3}, task="classification")
    save_network(metamixer.create_model("ffnet_nano", num_classes=3), info, tmp_path / "classifier.safetensors")
    places = {
        "checkpoint": checkpoint,
        "images": tmp_path / "images",
        "out": tmp_path / "out",
        "classifier": tmp_path / "classifier.safetensors",
        "published": tmp_path / "published.pth",
        "photos": tmp_path / "photos",
        "earlier": tmp_path / "earlier",
    }
    torch.save({"state_dict": {}}, tmp_path / "published.pth")
    for folder, name in (("photos", "photo.jpg"), ("earlier", "detections.json")):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (30, 20)).save(tmp_path / folder / name, format="JPEG")
    assert main([argument.format(**places) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_json_without_usable_objects_ends_in_a_line(tmp_path, capsys):
    told = coco_scene.content()
    path = coco_scene.write(tmp_path, told)
    for annotation in told["annotations"]:
        annotation["bbox"] = None
    path.write_text(json.dumps(told))
    files = [f"--data.{key}={name}" for key, name in coco_scene.files().items()]
    model = ["--model=Detection", "--model.model=cascade_mask_rcnn_ffnet_nano", "--model.num_classes=3"]
    quiet = ["--trainer.accelerator=cpu", "--trainer.logger=false", "--trainer.max_epochs=1"]
    with pytest.warns(InputWarning, match="7 of 7 annotations dropped"):
        assert (
            main(
                [
                    "fit",
                    *model,
                    "--data=CocoData",
                    f"--data.root={tmp_path}",
                    *files,
                    f"--out={tmp_path / 'run'}",
                    *quiet,
                ]
            )
            == 2
        )
    assert capsys.readouterr().err.endswith(f"{path}: 0 usable objects for training, expected at least one\n")


def test_only_our_warnings_are_plain_lines():
    with plain_warnings():
        assert warnings.formatwarning("7 dropped", InputWarning, "coco.py", 153) == "metamixer: warning: 7 dropped\n"
        assert warnings.formatwarning("old", UserWarning, "coco.py", 153).startswith("coco.py:153: ")


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
