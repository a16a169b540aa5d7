"""`metamixer train` on images with masks: where the folders may be, and what the masks say."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from metamixer.data import SegmentationData
from metamixer.data.segmentation.label_maps import paint
from metamixer.drawing.legend import distinct_colours
from metamixer.errors import InputError
from metamixer.training.own_data.kinds import understand
from own_folders import picture, write_masks


@pytest.mark.parametrize("outer", ["splits", "kinds"])
def test_a_split_of_masks_is_kept(outer, tmp_path):
    """It was read as a classifier's classes `images` and `masks`."""
    root = tmp_path / "data"
    for part, count in (("train", 4), ("val", 2)):
        written = write_masks(root / part if outer == "splits" else tmp_path / part, count=count)
        for kind in ("images", "masks") if outer == "kinds" else ():
            (root / kind).mkdir(parents=True, exist_ok=True)
            (written / kind).rename(root / kind / part)
    data = understand(root)
    assert data.task.name == "segmentation" and (data.items, data.val_items) == (4, 2)
    assert "4 images with masks of 2 classes (0, 3), 2 more for validation; trains" in data.understood
    written = Path(data.prepare(tmp_path / "run")["root"])
    assert sorted(path.name for path in (written / "val_labels").iterdir()) == ["0.png", "1.png"]
    listed = json.loads((tmp_path / "run/split.json").read_text())
    assert len(listed["train"]) == 4 and all("val" in Path(name).parts for name in listed["val"])


def test_masks_beside_a_test_split_are_divided(tmp_path):
    for part, count in (("train", 5), ("test", 2)):
        write_masks(tmp_path / part, count=count)
    data = understand(tmp_path)
    assert "5 images with masks of 2 classes (0, 3), 1 held out for validation; not used: 4 images in test" in (
        data.understood
    )


@pytest.mark.parametrize("split", ["", "train/"])
def test_images_and_masks_are_no_classes(split, tmp_path):
    """Masks that can't be read are no reason to train a classifier."""
    for kind in ("images", "labels", "masks"):
        (tmp_path / split / kind).mkdir(parents=True)
    picture(8).save(tmp_path / split / "images/0.png")
    message = r"folders images, labels, masks, expected one for each class, .* masks; found 1 image in images$"
    with pytest.raises(InputError, match=message):
        understand(tmp_path)


def write_values(root, values):
    """Masks of as many pixels of each value."""
    write_masks(root)
    for file in (root / "masks").iterdir():
        Image.fromarray(np.resize(np.array(values, np.uint8), (64, 64))).save(file)
    return root


@pytest.mark.parametrize(
    ("values", "described", "message"),
    [
        ([0, 1, 2, 255], None, "3 classes (0, 1, 2), 255 ignored (25.0% of the pixels), 1 held out"),
        ([0, 255], None, "2 classes (0, 255), 1 held out"),
        ([0, 1], None, "2 classes (0, 1), 1 held out"),
        ([0, 128, 255, 7], [0, 128, 255], "3 classes (c0, c128, c255), 7 ignored (25.0% of the pixels), 1 held out"),
    ],
)
def test_what_is_ignored_is_said(values, described, message, tmp_path):
    root = write_values(tmp_path / "data", values)
    if described:
        classes = [{"name": f"c{value}", "colour": [value, 0, 9], "value": value} for value in described]
        (root / "classes.yaml").write_text(yaml.safe_dump({"classes": classes, "ignore_index": 7}))
    data = understand(root)
    assert f"5 images with masks of {message} for validation" in data.understood
    assert data.model["num_classes"] == len(described or set(values) - {255 if len(values) > 2 else None})


DISTINCT = distinct_colours(5)


@pytest.mark.parametrize(
    ("palette", "colours"),
    [
        (DISTINCT[:4], [DISTINCT[0], DISTINCT[2], DISTINCT[3], DISTINCT[1]]),
        ([(0, 0, 0), (9, 9, 9), (200, 0, 0), (0, 0, 200)], [(0, 0, 0), (200, 0, 0), (0, 0, 200), DISTINCT[0]]),
        ([(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)], DISTINCT[:4]),
        ([(0, 0, 0)] * 4, DISTINCT[:4]),
    ],
    ids=["of-segment", "own", "gray-ramp", "one-color"],
)
def test_classes_have_the_colors_of_the_masks_palette(palette, colours, tmp_path):
    """Palettes were compared with colors by rank, and so those of `segment` refused. One mask is gray."""
    root = write_masks(tmp_path / "data")
    for i, file in enumerate(sorted((root / "masks").iterdir())):
        labels = np.resize(np.array([0, 2, 3] if i else [0, 2, 3, 9], np.uint8), (64, 64))
        (paint(labels, palette) if i else Image.fromarray(labels)).save(file)
    data = SegmentationData(understand(root).prepare(tmp_path)["root"])
    assert data.pixel_classes.values == (0, 2, 3, 9)
    assert data.pixel_classes.colours == tuple(colours)
    for labels in (*data.training_dataset(), *data.evaluation_dataset("val")):
        assert labels[1].max() >= 2


@pytest.mark.parametrize("gray", [False, True])
def test_gray_images_are_accepted_if_there_are_some(gray, tmp_path):
    root = write_masks(tmp_path / "data")
    if gray:
        Image.new("L", (64, 64)).save(root / "images" / "3.jpg")
    assert understand(root).prepare(tmp_path)["grey_images"] == gray


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_mask_of_another_size_is_named_before_training(orientation, tmp_path):
    root = write_masks(tmp_path / "data")
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture(64).crop((0, 0, 64, 40)).save(root / "images/1.jpg", exif=exif)
    upright = (64, 40) if orientation == 1 else (40, 64)
    Image.new("L", upright).save(root / "masks/1.png")
    understand(root)
    Image.new("L", upright[::-1]).save(root / "masks/1.png")
    with pytest.raises(InputError, match=rf"masks/1\.png: .* pixels, expected {upright[0]}x{upright[1]}, the size of"):
        understand(root)
