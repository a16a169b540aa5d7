"""Segmentation data, training, measuring and the command: what they compute, write and refuse."""

import csv
import gc
import json
import struct
import zlib
from functools import partial

import numpy as np
import pytest
import torch
import yaml
from lightning import Callback, Trainer
from PIL import Image
from torch.nn import functional as F

import metamixer
from metamixer.checkpoints import load_checkpoint, network_info, save_network
from metamixer.cli import main
from metamixer.data import SegmentationAugmentation, SegmentationData, SegmentationPreprocessing
from metamixer.data.label_maps import CLASS_LISTS, IGNORED, paint, read_classes
from metamixer.data.segmentation import read_colour_image
from metamixer.errors import InputError
from metamixer.segmenter import Segmenter
from metamixer.sliding import COLUMNS, label_map, probabilities, resized_argmax, tiles, whole
from metamixer.tasks import Segmentation, SegmentationOptimization
from metamixer.tasks.segmentation import measures
from random_statistics import randomize

COLOURS = [[10, 20, 200], [20, 160, 20], [200, 30, 30]]
NARROW = {"head_args": {"dim": 16, "depth": 1, "out_dim": 32}}
MODEL = "ffnet_head_ffnet_nano"


@pytest.fixture
def root(tmp_path):
    """Two pictures a split of sky, grass and a red house, 48x64; some pixels don't count."""
    classes = [{"name": name, "colour": colour} for name, colour in zip(("sky", "grass", "house"), COLOURS, strict=True)]
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump({"classes": classes, "ignore_index": 9}))
    generator = np.random.default_rng(0)
    for split in ("train", "val"):
        for i in range(2):
            labels = np.zeros((48, 64), np.uint8)
            labels[24:] = 1
            labels[14 + i : 34, 20 : 40 + 4 * i] = 2
            pixels = np.array(COLOURS)[labels] + generator.integers(-10, 11, (48, 64, 3))
            labels[:2] = 9
            for folder, array in ((split, pixels.clip(0, 255).astype(np.uint8)), (f"{split}_labels", labels)):
                (tmp_path / folder).mkdir(exist_ok=True)
                Image.fromarray(array).save(tmp_path / folder / f"{i}.png")
    return tmp_path


def data(root, **kwargs):
    augmentation = SegmentationAugmentation(crop=(64, 96), scale=(1.2, 2.0), photometric=0.0)
    return SegmentationData(str(root), **{"num_workers": 0, "augmentation": augmentation, "in_memory": True, **kwargs})


def task(**kwargs):
    return Segmentation(MODEL, 3, model_args=NARROW, optimization=SegmentationOptimization(lr=5e-3, warmup_steps=0), **kwargs)


def trainer(tmp_path, **kwargs):
    return Trainer(
        default_root_dir=tmp_path, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, **kwargs
    )


def test_learns_a_scene_and_writes_a_checkpoint_that_says_what_it_is(root):
    torch.manual_seed(0)
    run = trainer(root, max_epochs=60, check_val_every_n_epoch=60)
    learner = task(class_weights=[1.0, 1.0, 2.0], scales=(1.0, 1.5), flip=True)
    run.fit(learner, data(root))
    assert run.callback_metrics["val/miou"] > 0.8
    each = [run.callback_metrics[f"val/iou_{name}"] for name in ("sky", "grass", "house")]
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


class StopAfterAnEpoch(Callback):
    def on_train_epoch_end(self, trainer, module):
        trainer.should_stop = True


def test_a_resumed_run_ends_as_an_unbroken_one(root):
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


def test_loss_is_the_weighted_mean_over_the_pixels_that_count():
    learner = task(class_weights=[1.0, 2.0, 3.0])
    logits = torch.randn(2, 3, 4, 6)
    labels = torch.randint(0, 3, (2, 4, 6))
    labels[0, :2] = IGNORED
    expected = F.cross_entropy(logits, labels, torch.tensor([1.0, 2.0, 3.0]), ignore_index=IGNORED)
    torch.testing.assert_close(learner.loss(logits, labels), expected)
    assert learner.loss(logits, torch.full_like(labels, IGNORED)) == 0


def test_measures_are_those_of_the_definition():
    predicted, labels = torch.randint(0, 3, (2, 20, 20)), torch.randint(0, 3, (2, 20, 20))
    labels[0, :5] = IGNORED
    counter = measures(3)
    for one, other in zip(predicted, labels, strict=True):
        counter.update(one, other)
    found = counter.compute()
    counts = labels != IGNORED
    iou = [((predicted == k) & (labels == k)).sum() / (((predicted == k) | (labels == k)) & counts).sum() for k in range(3)]
    torch.testing.assert_close(found["iou"], torch.stack(iou))
    torch.testing.assert_close(found["miou"], torch.stack(iou).mean())
    torch.testing.assert_close(found["accuracy"], (predicted == labels)[counts].float().mean())


class Local(torch.nn.Module):
    """Logits that depend on a pixel and, weakly, on where in its window it is."""

    def forward(self, x):
        position = torch.linspace(0, 1, x.shape[3]) * 0.1
        return torch.cat([x, -x], dim=1) + position


@pytest.mark.parametrize(("window", "stride"), [(None, None), (16, 12), (16, 16), (20, 7), (64, 48), (10, 2)])
@pytest.mark.parametrize(("height", "width"), [(37, 50), (16, 203), (90, 20)])
def test_windows_give_the_mean_of_all_that_see_a_pixel(window, stride, height, width):
    image = torch.randn(3, height, width)
    side, step = window or max(height, width), stride or window or max(height, width)
    total, count = torch.zeros(6, height, width), torch.zeros(height, width)
    for y in range(0, max(height - side + step, 1), step):
        for x in range(0, max(width - side + step, 1), step):
            top, left = max(min(y, height - side), 0), max(min(x, width - side), 0)
            total[:, top : top + side, left : left + side] += Local()(image[None, :, top : top + side, left : left + side])[0]
            count[top : top + side, left : left + side] += 1
    found = list(tiles(Local(), image, window=window, stride=stride))
    assert sum(logits[0].numel() for _, _, logits in found) == height * width
    torch.testing.assert_close(whole(found, (height, width)), total / count)
    assert all(max(logits.shape[1:]) <= side for _, _, logits in found)


def held():
    """Bytes of all tensors made since gc.freeze()."""
    storages = [one.untyped_storage() for one in gc.get_objects() if type(one) is torch.Tensor]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def peak(height, width):
    """The most bytes of tensors held while a picture is labelled, without the result's one byte a pixel."""
    found = []

    def network(x):
        found.append(held())
        return Local()(x)

    picture = torch.zeros(1, 1, 1, dtype=torch.uint8).expand(3, height, width)
    gc.collect()
    gc.freeze()
    label_map(network, picture, SegmentationPreprocessing(window=64, stride=48))
    gc.unfreeze()
    return max(found) - height * width


def test_memory_grows_with_neither_side_of_the_picture():
    some = peak(208, 48 * 2 * COLUMNS + 16)
    assert peak(208, 48 * 6 * COLUMNS + 16) < 1.1 * some
    assert peak(48 * 6 * COLUMNS + 16, 208) < 1.1 * some


def test_scales_and_mirrored_images_are_averaged_and_laid_back():
    image = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    settings = SegmentationPreprocessing()
    plain = probabilities(lambda x: x, image, settings)
    torch.testing.assert_close(probabilities(lambda x: x, image, settings, flip=True), plain)
    many = probabilities(lambda x: x, image, settings, scales=(0.5, 1.0, 2.0), flip=True)
    assert many.shape == (3, 20, 30)
    torch.testing.assert_close(many.sum(dim=0), torch.ones(20, 30))
    assert (many - plain).abs().max() > 1e-3


def test_labels_come_back_in_the_pictures_size():
    logits = torch.randn(20, 6, 9)
    expected = F.interpolate(logits[None], (17, 31), mode="bilinear", align_corners=False)[0].argmax(dim=0)
    assert torch.equal(resized_argmax(logits, (17, 31)), expected.to(torch.uint8))
    image = torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8)
    assert label_map(lambda x: x, image, SegmentationPreprocessing(short_side=16)).shape == (40, 60)


def test_augmentation_moves_image_and_labels_together():
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (10, 12), dtype=torch.uint8).repeat_interleave(8, 0).repeat_interleave(8, 1)
    image = (labels * 80).expand(3, -1, -1).contiguous()
    settings = SegmentationPreprocessing(mean=(0.0,) * 3, std=(1 / 255,) * 3)
    augment = SegmentationAugmentation(crop=(60, 160), scale=(1.0, 2.0), photometric=0.0)
    for _ in range(5):
        pixels, found = augment(image, labels, settings)
        assert (pixels.shape, found.shape, found.dtype) == ((3, 60, 160), (60, 160), torch.int64)
        seen = found != IGNORED
        assert torch.equal(pixels[0] == 0, (found == 0) | ~seen) or (pixels[0][seen] / 80 - found[seen]).abs().median() < 0.05
        assert (pixels[0][seen] / 80 - found[seen]).abs().median() < 0.05


def test_a_crop_of_mostly_one_class_is_drawn_again():
    torch.manual_seed(0)
    labels = torch.zeros(100, 100, dtype=torch.uint8)
    labels[:, 80:] = 1
    augment = SegmentationAugmentation(crop=(20, 20), category_limit=0.75)
    shares = []
    for _ in range(20):
        top, left, height, width = augment.choose_box(labels, (100, 100))
        shares.append(labels[top : top + height, left : left + width].float().mean().item())
    assert sum(0.25 < share < 0.75 for share in shares) > 12


@pytest.mark.parametrize(("name", "count", "values"), [("ade20k", 150, (1, 150)), ("cityscapes", 19, (7, 33)), ("camvid", 11, (0, 10))])
def test_known_class_lists(name, count, values):
    classes = read_classes(name)
    assert len(classes.names) == len(set(classes.names)) == len(classes.colours) == count
    assert (classes.values[0], classes.values[-1]) == values
    assert not set(classes.values) & set(classes.ignored)
    assert (CLASS_LISTS / f"{name}.yaml").is_file()


def test_cityscapes_names_and_numbers(tmp_path):
    for folder, ending, mode in (("leftImg8bit", "_leftImg8bit", "RGB"), ("gtFine", "_gtFine_labelIds", "L")):
        (tmp_path / folder / "aachen").mkdir(parents=True)
        Image.new(mode, (8, 6), 26 if mode == "L" else (1, 2, 3)).save(tmp_path / folder / "aachen" / f"a_0{ending}.png")
    Image.new("L", (8, 6)).save(tmp_path / "gtFine" / "aachen" / "a_0_gtFine_color.png")
    endings = {"image_ending": "_leftImg8bit", "label_ending": "_gtFine_labelIds"}
    city = SegmentationData(str(tmp_path), "cityscapes", val_images="leftImg8bit", val_labels="gtFine", **endings)
    ((_, labels),) = city.evaluation_dataset("val")
    assert city.classes[labels.unique().item()] == "car"


def spoil_value(root):
    Image.fromarray(np.full((48, 64), 7, np.uint8)).save(root / "val_labels" / "0.png")


def spoil_size(root):
    Image.new("L", (64, 40)).save(root / "val_labels" / "0.png")


def spoil_missing(root):
    (root / "val_labels" / "0.png").unlink()


def spoil_empty(root):
    for path in (root / "val").iterdir():
        path.unlink()


def spoil_palette(root):
    paint(np.full((48, 64), 1, np.uint8), [COLOURS[1], COLOURS[0]]).save(root / "val_labels" / "0.png")


def spoil_mode(root):
    Image.new("RGB", (64, 48)).save(root / "val_labels" / "0.png")


def spoil_grey(root):
    Image.new("L", (64, 48)).save(root / "val" / "0.png")


def spoil_pixels(root):
    """A PNG that says that it has 20000 by 20000 pixels."""
    path = root / "val_labels" / "0.png"
    head = b"IHDR" + struct.pack(">2I5B", 20000, 20000, 8, 0, 0, 0, 0)
    path.write_bytes(path.read_bytes()[:12] + head + struct.pack(">I", zlib.crc32(head)) + path.read_bytes()[33:])


def spoil_file(root):
    path = root / "val_labels" / "0.png"
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_value, r"val_labels/0\.png: label value 7, expected one of the 3 classes \(0 to 2\) or 9 \(ignored\)"),
        (spoil_size, r"val_labels/0\.png: 64x40 pixels, expected 64x48, the size of its picture"),
        (spoil_missing, r"val_labels/0\.png: no such file, expected the labels of .*val/0\.png"),
        (spoil_empty, r"val: 0 pictures in this split"),
        (spoil_palette, r"val_labels/0\.png: wrong palette: value 1 has the colour of sky \(10, 20, 200\), expected \(20, 160, 20\)"),
        (spoil_mode, r"val_labels/0\.png: an image of mode RGB, expected a PNG of class numbers"),
        (spoil_grey, r"val/0\.png: a grey image \(mode L\), expected colour"),
        (spoil_pixels, r"val_labels/0\.png: more than \d+ pixels, expected fewer, or --max_pixels"),
        (spoil_file, r"val_labels/0\.png: not a readable image"),
    ],
)
def test_a_bad_file_is_named_with_its_value(root, spoil, message):
    spoil(root)
    with pytest.raises(InputError, match=message):
        list(data(root).evaluation_dataset("val"))


def test_a_right_palette_and_a_grey_picture_that_may_be_are_taken(root):
    labels = np.asarray(Image.open(root / "val_labels" / "0.png"))
    paint(labels, [*COLOURS, *[[0, 0, 0]] * 7]).save(root / "val_labels" / "0.png")
    spoil_grey(root)
    image, found = data(root, grey_images=True).evaluation_dataset("val")[0]
    assert image.shape == (3, 48, 64)
    assert torch.equal(found, torch.from_numpy(np.where(labels == 9, IGNORED, labels).astype(np.int64)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [{name: a}]", "classes.yaml: KeyError 'colour'"),
        ("classes: [{name: a, colour: [1, 2]}, {name: b, colour: [1, 2, 3]}]", "classes.yaml: ValueError"),
        ("classes: [{name: a, colour: [1, 2, 3]}]", "classes.yaml: 1 classes"),
        ("classes: [{name: a, colour: [1, 2, 3]}, {name: b, colour: [1, 2, 3]}]\nignore_index: 1", r"values \[1\] twice"),
        ("classes: {", "classes.yaml: "),
        (None, "classes 'classes.yaml': no such file, expected a YAML file or one of ade20k, camvid, cityscapes"),
    ],
)
def test_bad_class_lists(text, message, tmp_path):
    if text:
        (tmp_path / "classes.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_classes("classes.yaml", tmp_path)


def test_refuses_numbers_that_do_not_fit(root):
    with pytest.raises(InputError, match="num_classes 4, expected 3, the data's number of classes"):
        trainer(root, max_epochs=1).fit(Segmentation(MODEL, 4, model_args=NARROW), data(root))
    with pytest.raises(InputError, match="class_weights of 2 numbers, expected 3"):
        task(class_weights=[1.0, 2.0])
    broken = task()
    torch.nn.init.constant_(broken.network.head.classifier.bias, float("nan"))
    with pytest.raises(InputError, match=r"training loss is nan at step 0"):
        trainer(root, max_epochs=1).fit(broken, data(root))


def test_head_and_layers_have_their_rates_and_vectors_do_not_decay():
    network = metamixer.create_model("upernet_ffnet_1", backbone="ffnet_nano", dim=16)
    optimizer = SegmentationOptimization(lr=1.0, head_factor=10, layer_decay=0.5).optimizer(network)
    groups = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    assert len(groups) == len(list(network.parameters()))
    mixer = network.backbone.model.stages[0].blocks[0].channel_mixer.mixer
    assert groups[id(mixer.key.weight)]["lr"] == pytest.approx(0.5**12)
    assert (groups[id(mixer.key.weight)]["weight_decay"], groups[id(mixer.key.bias)]["weight_decay"]) == (0.05, 0)
    assert groups[id(network.head.classifier.weight)]["lr"] == 10
    share = SegmentationOptimization(warmup_steps=10).scheduler(optimizer, steps=100).lr_lambdas[0]
    assert [share(step) for step in (0, 5, 50, 100)] == pytest.approx([1e-6, 0.95 * 0.5000005, 0.5, 0])


@pytest.fixture
def checkpoint(tmp_path):
    """A file that holds a small segmenter, which sees windows of 48 pixels."""
    torch.manual_seed(0)
    network = randomize(metamixer.create_model(MODEL, num_classes=3, **NARROW))
    preprocessing = SegmentationPreprocessing(window=48, stride=32)
    info = network_info(
        MODEL, {"num_classes": 3, **NARROW}, task="segmentation", classes=["a", "b", "c"], preprocessing=preprocessing.as_dict()
    )
    save_network(network, {**info, "colours": COLOURS}, tmp_path / "segmenter.safetensors")
    return tmp_path / "segmenter.safetensors"


def test_segment_writes_labels_overlays_and_areas(checkpoint, root, capsys):
    out = root / "out"
    Image.open(root / "val" / "0.png").resize((150, 90)).convert("RGBA").save(root / "val" / "large.png")
    assert main(["segment", str(root / "val"), "--checkpoint", str(checkpoint), "--out", str(out)]) == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == sorted(["areas.csv", "areas.json", *(f"{i}_{kind}.png" for i in (0, 1, "large") for kind in ("labels", "overlay"))])
    labels = Image.open(out / "large_labels.png")
    assert (labels.mode, labels.size, labels.getpalette()[:9]) == ("P", (150, 90), [part for colour in COLOURS for part in colour])
    numbers = np.asarray(labels)
    overlay = Image.open(out / "large_overlay.png")
    assert overlay.width > 150
    record = json.loads((out / "areas.json").read_text())[2]
    assert (record["width"], record["height"]) == (150, 90)
    assert sum(area["pixels"] for area in record["classes"].values()) == 150 * 90
    assert {name: area["pixels"] for name, area in record["classes"].items()} == {
        name: (numbers == i).sum() for i, name in enumerate("abc") if (numbers == i).any()
    }
    rows = list(csv.DictReader((out / "areas.csv").open()))
    assert sum(int(row["pixels"]) for row in rows) == 2 * 48 * 64 + 150 * 90
    assert "large.png: " in capsys.readouterr().out
    segmenter = Segmenter.load(checkpoint=checkpoint)
    assert np.array_equal(segmenter(root / "val" / "large.png"), numbers)
    segmenter.use_windows(256)
    assert (segmenter(root / "val" / "large.png") != numbers).mean() < 0.5


def test_a_picture_that_cannot_be_read_costs_the_others_nothing(checkpoint, root, capsys):
    (root / "val" / "0.png").write_bytes((root / "val" / "0.png").read_bytes()[:900])
    command = ["segment", str(root / "val"), "--checkpoint", str(checkpoint), "--out", str(root / "out"), "--overlays", "false"]
    assert main(command) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"metamixer: failed: {root / 'val' / '0.png'}: not a readable image")
    assert said[1] == f"metamixer: error: 1 of 2 files failed, named above; the others are in {root / 'out'}"
    assert sorted(path.name for path in (root / "out").iterdir()) == ["1_labels.png", "areas.csv", "areas.json"]
    assert [row["image"] for row in json.loads((root / "out" / "areas.json").read_text())] == [str(root / "val" / "1.png")]
    (root / "out" / "0_labels.png").write_bytes(b"earlier")
    assert main(command) == 2
    assert "0_labels.png: exists, expected another name or folder, or --overwrite" in capsys.readouterr().err
    assert (root / "out" / "0_labels.png").read_bytes() == b"earlier"


def test_inputs_are_never_written_over(checkpoint, root, capsys):
    picture = root / "val" / "1_labels.png"
    (root / "val" / "0.png").rename(picture)
    before = picture.read_bytes()
    assert main(["segment", str(root / "val"), "--checkpoint", str(checkpoint), "--out", str(root / "val"), "--overwrite"]) == 2
    assert f"{picture}: is one of the inputs, which would be lost" in capsys.readouterr().err
    assert picture.read_bytes() == before


def test_bfloat16_gives_about_the_same_labels(checkpoint, root):
    exact, fast = (Segmenter.load(checkpoint=checkpoint, precision=name)(root / "val" / "0.png") for name in ("fp32", "bf16"))
    assert 0.9 < (exact == fast).mean() <= 1


def test_segmenter_of_a_published_checkpoint_knows_its_classes(tmp_path):
    torch.manual_seed(0)
    network = metamixer.create_model("upernet_ffnet_1", backbone="ffnet_nano", dim=16)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "published.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metamixer.segmenter.create_model", partial(metamixer.create_model, backbone="ffnet_nano", dim=16))
        segmenter = Segmenter.load(model="upernet_ffnet_1", checkpoint=tmp_path / "published.pth")
    assert (len(segmenter.classes), segmenter.classes[0]) == (150, "wall")
    assert segmenter.preprocessing.short_side == 512


def test_fuse_writes_a_deploy_form_that_segments_the_same(checkpoint, root, capsys):
    assert main(["fuse", str(checkpoint), "--out", str(root / "fused.safetensors")]) == 0
    assert "parity" in capsys.readouterr().out
    original, fused = (Segmenter.load(checkpoint=path)(root / "val" / "0.png") for path in (checkpoint, root / "fused.safetensors"))
    assert (original == fused).mean() > 0.999


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{root}/val", "--checkpoint", "{checkpoint}", "--window", "8"], "window 8, expected at least 32 pixels"),
        (["{root}/val", "--checkpoint", "{checkpoint}", "--stride", "64"], "stride 64 for windows of 48 pixels"),
        (["{root}/val", "--checkpoint", "{checkpoint}", "--precision", "int8"], "precision 'int8', expected one of fp32, bf16"),
        (["{root}/none.png", "--checkpoint", "{checkpoint}"], "none.png: no such file"),
        (["{root}/grey.png", "--checkpoint", "{checkpoint}"], "grey.png: a grey image (mode L), expected colour"),
        (["{root}/val", "--checkpoint", "{checkpoint}", "--max_pixels", "0"], "max_pixels 0, expected at least 1"),
        (
            ["{root}/val/0.png", "--checkpoint", "{checkpoint}", "--max_pixels", "99"],
            "0.png: more than 99 pixels, expected fewer, or --max",
        ),
        (["{root}/val", "--checkpoint", "{root}/classifier.safetensors"], "for classification, expected one for segmentation"),
        (["{root}/val", "--checkpoint", "{root}/x.pth", "--model", "ffnet_1"], "model 'ffnet_1', expected a published segmenter"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, said, checkpoint, root, capsys):
    Image.new("L", (64, 48)).save(root / "grey.png")
    torch.save({"state_dict": {}}, root / "x.pth")
    info = network_info("ffnet_nano", {"num_classes": 3}, task="classification", classes=None, preprocessing=None)
    save_network(metamixer.create_model("ffnet_nano", num_classes=3), info, root / "classifier.safetensors")
    filled = [argument.format(root=root, checkpoint=checkpoint) for argument in arguments]
    assert main(["segment", *filled, "--out", str(root / "out")]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not (root / "out").exists()


def test_a_grey_picture_can_be_taken(checkpoint, root):
    Image.new("L", (64, 48), 90).save(root / "grey.png")
    command = ["segment", str(root / "grey.png"), "--checkpoint", str(checkpoint), "--out", str(root / "out"), "--grey_images", "true"]
    assert main(command) == 0
    assert (root / "out" / "grey_labels.png").is_file()


def test_sixteen_bits_of_grey_are_brought_to_eight(root):
    values = np.arange(65536, step=1024, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(values).save(root / "deep.png")
    assert np.array_equal(np.asarray(read_colour_image(root / "deep.png", grey_images=True))[:, :, 1], values >> 8)
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(root / "float.tif")
    with pytest.raises(InputError, match=r"float.tif: values of mode F, whose white is unknown, expected 8 or 16 bits"):
        read_colour_image(root / "float.tif", grey_images=True)
