"""Training and evaluating segmentation: what is computed, saved and refused."""

import numpy as np
import pytest
import torch
import yaml
from lightning import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from torch.nn import functional as F

import metamixer
from house_scene import COLOURS, MODEL, NARROW, data, task, trainer, write_scene
from metamixer.checkpoints.ours import load_checkpoint
from metamixer.data.segmentation.label_maps import IGNORED_PIXEL
from metamixer.errors import InputError
from metamixer.predictors.segmenter import Segmenter
from metamixer.tasks import Segmentation, SegmentationOptimization
from metamixer.tasks.confusion import class_ious, segmentation_measures
from metamixer.tasks.lovasz import lovasz_softmax
from metamixer.tasks.segmentation import overlap_loss


@pytest.fixture
def root(tmp_path):
    return write_scene(tmp_path)


def test_learns_a_scene_and_writes_a_checkpoint_with_its_info(root):
    torch.manual_seed(0)
    run = trainer(root, max_epochs=60, check_val_every_n_epoch=60)
    learner = task(class_weights=[1.0, 1.0, 2.0], scales=(1.0, 1.5), flip=True)
    run.fit(learner, data(root))
    assert run.callback_metrics["val/miou"] > 0.8
    each = [run.callback_metrics[f"val/iou/{name}"] for name in ("sky", "grass", "house")]
    assert run.callback_metrics["val/miou"] == pytest.approx(sum(each) / 3)
    run.save_checkpoint(root / "last.ckpt")
    network, info = load_checkpoint(root / "last.ckpt")
    assert (info["task"], info["classes"], info["colours"]) == ("segmentation", ["sky", "grass", "house"], COLOURS)
    assert network.num_classes == 3
    labels = Segmenter.load(checkpoint=root / "last.ckpt")(root / "val" / "1.png")
    truth = np.asarray(Image.open(root / "val_labels" / "1.png"))
    assert (labels == truth)[truth != 9].mean() == pytest.approx(float(run.callback_metrics["val/accuracy"]), abs=0.05)
    (result,) = run.test(learner, data(root), verbose=False)
    assert result["test/miou"] > 0.6


def test_a_checkpoint_keeps_the_values_of_the_label_files_and_whether_images_may_be_gray(root):
    listed = yaml.safe_load((root / "classes.yaml").read_text())
    listed["classes"] = [{**entry, "value": 100 * i} for i, entry in enumerate(listed["classes"])]
    (root / "classes.yaml").write_text(yaml.safe_dump(listed))
    for file in root.glob("*_labels/*.png"):
        labels = np.asarray(Image.open(file))
        Image.fromarray(np.where(labels == 9, 9, 100 * labels).astype(np.uint8)).save(file)
    run = trainer(root, max_epochs=1, limit_val_batches=0)
    Image.open(root / "val" / "1.png").convert("L").save(root / "val" / "1.png")
    run.fit(task(), data(root, grey_images=True))
    run.save_checkpoint(root / "last.ckpt")
    segmenter = Segmenter.load(root / "last.ckpt")
    assert segmenter.values == [0, 100, 200]
    assert np.isin(segmenter(root / "val" / "1.png").label_image(), segmenter.values).all()


def test_weights_are_evaluated_on_the_classes_of_their_training(root):
    learner = task()
    run = trainer(root, max_epochs=1, limit_val_batches=0)
    run.fit(learner, data(root))
    run.save_checkpoint(root / "last.ckpt")
    listed = yaml.safe_load((root / "classes.yaml").read_text())
    listed["classes"] = [{**entry, "value": i} for i, entry in enumerate(listed["classes"])][::-1]
    (root / "turned.yaml").write_text(yaml.safe_dump(listed))
    turned = data(root, classes="turned.yaml")
    message = "class 0 of the data is 'house', expected 'sky', the class that the checkpoint was trained on"
    initial = {"initial": str(root / "last.ckpt")}
    cases = ("test", learner, None), ("test", task(), root / "last.ckpt"), ("validate", task(**initial), None)
    for command, weights, path in cases:
        with pytest.raises(InputError, match=message):
            getattr(trainer(root), command)(weights, turned, ckpt_path=path, weights_only=True, verbose=False)
    with pytest.raises(InputError, match=message):
        trainer(root, max_epochs=2).fit(task(), turned, ckpt_path=root / "last.ckpt", weights_only=True)
    tuned, run = task(**initial), trainer(root, max_epochs=1, limit_val_batches=0)
    run.fit(tuned, turned)
    run.test(tuned, turned, verbose=False)


class StopAfterAnEpoch(Callback):
    def on_train_epoch_end(self, trainer, module):
        trainer.should_stop = True


def test_a_resumed_run_ends_as_an_uninterrupted_one(root):
    whole = task()
    start = {key: value.clone() for key, value in whole.network.state_dict().items()}
    trainer(root, max_epochs=2, limit_val_batches=0).fit(whole, data(root, batch_size=1))
    half, rest = task(), task()
    half.network.load_state_dict(start)
    first = trainer(root, max_epochs=2, limit_val_batches=0, callbacks=[StopAfterAnEpoch()])
    first.fit(half, data(root, batch_size=1))
    first.save_checkpoint(root / "half.ckpt")
    resumed = trainer(root, max_epochs=2, limit_val_batches=0)
    resumed.fit(rest, data(root, batch_size=1), ckpt_path=root / "half.ckpt", weights_only=True)
    for key, value in whole.network.state_dict().items():
        torch.testing.assert_close(rest.network.state_dict()[key], value, rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_weighted_mean_over_labeled_pixels():
    learner = task(class_weights=[1.0, 2.0, 3.0])
    logits = torch.randn(2, 3, 4, 6)
    labels = torch.randint(0, 3, (2, 4, 6))
    labels[0, :2] = IGNORED_PIXEL
    expected = F.cross_entropy(logits, labels, torch.tensor([1.0, 2.0, 3.0]), ignore_index=IGNORED_PIXEL)
    torch.testing.assert_close(learner.loss(logits, labels), expected)
    assert learner.loss(logits, torch.full_like(labels, IGNORED_PIXEL)) == 0


def test_the_loss_is_a_mean_where_all_weights_are_small():
    learner, logits = task(class_weights=[0.0, 0.1, 0.3]), torch.randn(1, 3, 4, 6)
    labels = torch.full((1, 4, 6), IGNORED_PIXEL)
    labels[0, 0, 0] = 1
    torch.testing.assert_close(
        learner.loss(logits, labels), F.cross_entropy(logits, labels, ignore_index=IGNORED_PIXEL)
    )
    labels[0, 0, 0] = 0
    assert learner.loss(logits, labels) == 0


def test_the_overlap_loss_is_lovasz_of_the_nearest_labels(root):
    logits, labels = torch.randn(2, 3, 4, 6), torch.randint(0, 3, (2, 4, 6))
    labels[0, :2] = IGNORED_PIXEL
    expected = lovasz_softmax(logits.movedim(1, -1).flatten(0, 2), labels.flatten(), ignore_index=IGNORED_PIXEL)
    finer = labels.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    torch.testing.assert_close(overlap_loss(logits, finer), expected)
    right = 20 * F.one_hot(labels.clamp(max=2), 3).movedim(-1, 1).float()
    assert overlap_loss(right, finer) < 1e-6
    learner, run = task(lovasz_weight=0.5), trainer(root, max_epochs=1, limit_val_batches=0)
    run.fit(learner, data(root))
    logged = run.callback_metrics
    torch.testing.assert_close(logged["train/loss"], logged["train/pixels"] + logged["train/overlap"])
    assert 0 < logged["train/overlap"] <= 0.5
    with pytest.raises(InputError, match=r"model\.lovasz_weight -1, expected at least 0"):
        task(lovasz_weight=-1)


def test_metrics_follow_their_definition():
    predicted, labels = torch.randint(0, 3, (2, 20, 20)), torch.randint(0, 3, (2, 20, 20))
    labels[0, :5] = IGNORED_PIXEL
    counter = task().measures["val"]
    for one, other in zip(predicted, labels, strict=True):
        counter.update(one, other)
    found = segmentation_measures(counter.compute())
    counts = labels != IGNORED_PIXEL
    iou = [
        ((predicted == k) & (labels == k)).sum() / (((predicted == k) | (labels == k)) & counts).sum() for k in range(3)
    ]
    torch.testing.assert_close(class_ious(counter.compute()), torch.stack(iou))
    torch.testing.assert_close(found["miou"], torch.stack(iou).mean())
    torch.testing.assert_close(found["accuracy"], (predicted == labels)[counts].float().mean())


def test_a_class_that_is_nowhere_has_no_metric(root):
    listed = yaml.safe_load((root / "classes.yaml").read_text())
    listed["classes"].append({"name": "boat", "colour": [1, 2, 3]})
    (root / "more.yaml").write_text(yaml.safe_dump(listed))
    learner = Segmentation(MODEL, 4, model_args=NARROW)
    torch.nn.init.constant_(learner.network.head.classifier.bias[3:], -1e3)
    (found,) = trainer(root).validate(learner, data(root, classes="more.yaml"), verbose=False)
    assert found.keys() == {
        "val/miou",
        "val/mean_accuracy",
        "val/accuracy",
        *(f"val/iou/{name}" for name in ("sky", "grass", "house")),
    }
    assert found["val/miou"] == pytest.approx(sum(found[f"val/iou/{name}"] for name in ("sky", "grass", "house")) / 3)


def test_a_monitor_of_0_1_0_is_still_logged(root):
    best = ModelCheckpoint(root / "best", monitor="val/iou_house", mode="max")
    run = trainer(root, max_epochs=1, callbacks=[best])
    run.fit(task(), data(root))
    assert best.best_model_score == run.callback_metrics["val/iou/house"]


def test_head_and_layers_have_their_rates_and_vectors_do_not_decay():
    network = metamixer.create_model("upernet_ffnet_1", backbone="ffnet_nano", dim=16)
    optimizer = SegmentationOptimization(lr=1.0, head_factor=10, layer_decay=0.5).optimizer(network)
    groups = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    assert len(groups) == len(list(network.parameters()))
    mixer = network.backbone.model.stages[0].blocks[0].channel_mixer.mixer
    assert groups[id(mixer.key.weight)]["lr"] == pytest.approx(0.5**12)
    assert (groups[id(mixer.key.weight)]["weight_decay"], groups[id(mixer.key.bias)]["weight_decay"]) == (0.05, 0)
    assert groups[id(network.head.classifier.weight)]["lr"] == 10
    share = SegmentationOptimization(warmup_steps=10).scheduler(optimizer, steps=100, steps_per_epoch=10).lr_lambdas[0]
    assert [share(step) for step in (0, 5, 50, 100)] == pytest.approx([1e-6, 0.95 * 0.5000005, 0.5, 0])
