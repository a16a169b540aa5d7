"""`Segmenter` and `metamixer segment`: what they write and refuse."""

import csv
import io
import json
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

import metamixer
from house_scene import COLOURS, MODEL, NARROW, write_scene
from metamixer.checkpoints.ours import load_checkpoint, network_info, save_network
from metamixer.cli import main
from metamixer.data import SegmentationPreprocessing
from metamixer.drawing.legend import distinct_colours
from metamixer.engine.files import Files
from metamixer.engine.outputs import segmented
from metamixer.errors import InputError
from metamixer.predictors.segmenter import Segmenter
from random_statistics import randomize


@pytest.fixture
def root(tmp_path):
    return write_scene(tmp_path)


@pytest.fixture
def checkpoint(tmp_path):
    """The checkpoint of a small segmenter with windows of 48 pixels."""
    torch.manual_seed(0)
    network = randomize(metamixer.create_model(MODEL, num_classes=3, **NARROW))
    preprocessing = SegmentationPreprocessing(window=48, stride=32)
    info = network_info(
        MODEL,
        {"num_classes": 3, **NARROW},
        task="segmentation",
        classes=["a", "b", "c"],
        preprocessing=preprocessing.as_dict(),
    )
    save_network(network, {**info, "colours": COLOURS}, tmp_path / "segmenter.safetensors")
    return tmp_path / "segmenter.safetensors"


def test_segment_writes_labels_overlays_and_areas(checkpoint, root, capsys):
    out = root / "out"
    Image.open(root / "val" / "0.png").resize((150, 90)).convert("RGBA").save(root / "val" / "large.png")
    assert main(["segment", str(root / "val"), "--checkpoint", str(checkpoint), "--out", str(out), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((out / "areas.json").read_text())
    names = sorted(path.name for path in out.iterdir())
    assert names == sorted(
        ["areas.csv", "areas.json", *(f"{i}_{kind}.png" for i in (0, 1, "large") for kind in ("labels", "overlay"))]
    )
    labels = Image.open(out / "large_labels.png")
    assert (labels.mode, labels.size, labels.getpalette()[:9]) == (
        "P",
        (150, 90),
        [part for colour in COLOURS for part in colour],
    )
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
    segmenter = Segmenter.load(checkpoint=checkpoint)
    found = segmenter(root / "val" / "large.png")
    assert np.array_equal(found, numbers)
    assert record == {**found.to_dict(), "labels": "large_labels.png", "folder": str(out)}
    segmenter.use_windows(256)
    assert (segmenter(root / "val" / "large.png") != numbers).mean() < 0.5


@pytest.mark.parametrize(("values", "mode"), [([0, 255, 7], "P"), ([0, 1000, 7], "I;16")])
def test_label_files_have_the_values_of_the_training(values, mode, checkpoint, root, tmp_path):
    """By the command and by an engine; the array keeps the indices of the classes."""
    network, info = load_checkpoint(checkpoint)
    source, image = tmp_path / "values.safetensors", str(root / "val" / "0.png")
    save_network(network, {**info, "values": values}, source)
    assert main(["segment", image, "--checkpoint", str(source), "--out", str(root / "out")]) == 0
    labels = Image.open(root / "out" / "0_labels.png")
    indices = np.asarray(Segmenter.load(source)(image))
    assert labels.mode == mode and len(np.unique(indices)) > 1
    assert np.array_equal(labels, np.array(values)[indices])
    if mode == "P":
        assert np.array_equal(labels.convert("RGB"), np.array(COLOURS)[indices])
    else:
        Segmenter.load(source)(image).draw()
    work = Files("segmentation", [image], {"source": str(source)}, {"window": None, "stride": None})
    (prediction,) = segmented(work.prepare(), [image], window=None, stride=None)
    assert np.array_equal(Image.open(io.BytesIO(prediction.values["labels"])), labels)


@pytest.mark.parametrize("wrong", [{"values": [0, 1]}, {"colours": COLOURS[:2]}])
def test_a_checkpoint_needs_a_value_and_a_color_for_each_class(wrong, checkpoint, tmp_path):
    network, info = load_checkpoint(checkpoint)
    save_network(network, {**info, **wrong}, tmp_path / "wrong.safetensors")
    with pytest.raises(InputError, match=r"wrong.safetensors: . colors and . values of 3 classes, expected one for"):
        Segmenter.load(tmp_path / "wrong.safetensors")


def test_two_images_with_one_name_are_refused(checkpoint, root):
    given = [str(root / split / "0.png") for split in ("val", "train", "val")]
    assert (
        main(["segment", *given, "--checkpoint", str(checkpoint), "--out", str(root / "out"), "--overlays", "false"])
        == 0
    )
    names = [(row["image"], row["labels"]) for row in json.loads((root / "out" / "areas.json").read_text())]
    assert names == [(given[0], "0_labels.png"), (given[1], "0_2_labels.png")]
    assert {(row["image"], row["labels"]) for row in csv.DictReader((root / "out" / "areas.csv").open())} == {*names}


def test_an_image_that_is_too_small_is_named(checkpoint, tmp_path, capsys):
    Image.new("RGB", (8, 8)).save(tmp_path / "small.png")
    assert (
        main(["segment", str(tmp_path / "small.png"), "--checkpoint", str(checkpoint), "--out", str(tmp_path / "out")])
        == 2
    )
    assert f"{tmp_path / 'small.png'}: image of 8x8 pixels, expected at least 32x32" in capsys.readouterr().err


def test_an_unreadable_image_does_not_stop_the_others(checkpoint, root, capsys):
    (root / "val" / "0.png").write_bytes((root / "val" / "0.png").read_bytes()[:900])
    command = [
        "segment",
        str(root / "val"),
        "--checkpoint",
        str(checkpoint),
        "--out",
        str(root / "out"),
        "--overlays",
        "false",
    ]
    assert main(command) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"metamixer: failed: {root / 'val' / '0.png'}: not a readable image")
    assert said[1] == f"metamixer: error: 1 of 2 files failed, named above; the others are in {root / 'out'}"
    assert sorted(path.name for path in (root / "out").iterdir()) == ["1_labels.png", "areas.csv", "areas.json"]
    assert [row["image"] for row in json.loads((root / "out" / "areas.json").read_text())] == [
        str(root / "val" / "1.png")
    ]
    (root / "out" / "0_labels.png").write_bytes(b"earlier")
    assert main(command) == 2
    assert "0_labels.png: exists, expected another name or folder, or --overwrite" in capsys.readouterr().err
    assert (root / "out" / "0_labels.png").read_bytes() == b"earlier"


def test_inputs_are_never_replaced(checkpoint, root, capsys):
    picture = root / "val" / "1_labels.png"
    (root / "val" / "0.png").rename(picture)
    before = picture.read_bytes()
    assert (
        main(["segment", str(root / "val"), "--checkpoint", str(checkpoint), "--out", str(root / "val"), "--overwrite"])
        == 2
    )
    assert f"{picture}: is one of the inputs, expected another folder" in capsys.readouterr().err
    assert picture.read_bytes() == before


def test_bfloat16_gives_about_the_same_labels(checkpoint, root):
    exact, fast = (
        Segmenter.load(checkpoint=checkpoint, precision=name)(root / "val" / "0.png") for name in ("fp32", "bf16")
    )
    assert 0.9 < (exact == fast).mean() <= 1


def test_segmenter_of_a_published_checkpoint_knows_its_classes(tmp_path):
    torch.manual_seed(0)
    network = metamixer.create_model("upernet_ffnet_1", backbone="ffnet_nano", dim=16)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "published.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "metamixer.checkpoints.source.create_model", partial(metamixer.create_model, backbone="ffnet_nano", dim=16)
        )
        segmenter = Segmenter.load(model="upernet_ffnet_1", checkpoint=tmp_path / "published.pth")
    assert (len(segmenter.classes), segmenter.classes[0]) == (150, "wall")
    assert segmenter.preprocessing.short_side == 512


@pytest.mark.parametrize("count", [256, 257])
def test_more_classes_than_a_label_map_can_hold_are_refused(count):
    names, preprocessing = [str(label) for label in range(count)], SegmentationPreprocessing()
    with nullcontext() if count == 256 else pytest.raises(InputError, match="257 classes, expected at most 256"):
        Segmenter(torch.nn.Identity(), preprocessing, names, distinct_colours(count))


def test_fuse_writes_a_deploy_form_that_segments_the_same(checkpoint, root, capsys):
    assert main(["fuse", str(checkpoint), "--out", str(root / "fused.safetensors")]) == 0
    assert "parity" in capsys.readouterr().out
    original, fused = (
        Segmenter.load(checkpoint=path)(root / "val" / "0.png") for path in (checkpoint, root / "fused.safetensors")
    )
    assert (original == fused).mean() > 0.999


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{root}/val", "--checkpoint", "{checkpoint}", "--window", "8"], "window 8, expected at least 32 pixels"),
        (["{root}/val", "--checkpoint", "{checkpoint}", "--stride", "64"], "stride 64 for windows of 48 pixels"),
        (
            ["{root}/val", "--checkpoint", "{checkpoint}", "--precision", "int8"],
            "precision 'int8', expected one of fp32, bf16",
        ),
        (["{root}/none.png", "--checkpoint", "{checkpoint}"], "none.png: no such file"),
        (["{root}/grey.png", "--checkpoint", "{checkpoint}"], "grey.png: a gray image (mode L), expected color"),
        (["{root}/val", "--checkpoint", "{checkpoint}", "--max_pixels", "0"], "max_pixels 0, expected at least 1"),
        (
            ["{root}/val/0.png", "--checkpoint", "{checkpoint}", "--max_pixels", "99"],
            "0.png: more than 99 pixels, expected fewer, or a larger --max",
        ),
        (
            ["{root}/val", "--checkpoint", "{root}/classifier.safetensors"],
            "for classification, expected one for segmentation",
        ),
        (
            ["{root}/val", "--checkpoint", "{root}/x.pth", "--model", "ffnet_1"],
            "model 'ffnet_1', expected a published segmenter",
        ),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, said, checkpoint, root, capsys):
    Image.new("L", (64, 48)).save(root / "grey.png")
    torch.save({"state_dict": {}}, root / "x.pth")
    info = network_info("ffnet_nano", {"num_classes": 3}, task="classification")
    save_network(metamixer.create_model("ffnet_nano", num_classes=3), info, root / "classifier.safetensors")
    filled = [argument.format(root=root, checkpoint=checkpoint) for argument in arguments]
    assert main(["segment", *filled, "--out", str(root / "out")]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not (root / "out").exists()


def test_a_grayscale_image_can_be_accepted(checkpoint, root):
    Image.new("L", (64, 48), 90).save(root / "grey.png")
    command = [
        "segment",
        str(root / "grey.png"),
        "--checkpoint",
        str(checkpoint),
        "--out",
        str(root / "out"),
        "--grey_images",
        "true",
    ]
    assert main(command) == 0
    assert (root / "out" / "grey_labels.png").is_file()


def test_gray_images_need_no_option_if_the_training_had_some(checkpoint, root, tmp_path):
    network, info = load_checkpoint(checkpoint)
    save_network(network, {**info, "grey_images": True}, tmp_path / "gray.safetensors")
    Image.new("L", (64, 48), 90).save(root / "grey.png")
    source, image = str(tmp_path / "gray.safetensors"), str(root / "grey.png")
    assert main(["segment", image, "--checkpoint", source, "--out", str(root / "out")]) == 0
    work = Files("segmentation", [image], {"source": source}, {"window": None, "stride": None, "grey_images": False})
    (prediction,) = segmented(work.prepare(), [image], **work.options)
    assert np.array_equal(prediction.result, Segmenter.load(source)(Image.open(image)))
    with pytest.raises(InputError, match="a gray image"):
        Segmenter.load(checkpoint)(image)
