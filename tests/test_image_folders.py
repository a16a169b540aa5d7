"""Folders of images: one reading, and one split, for `fit`, `train` and `distil`."""

import json
from pathlib import Path

import pytest

from metamixer.data.images.distillation import DistillationData
from metamixer.data.images.folders import FolderReader, class_images, folders_of, has_classes
from metamixer.data.images.labelled import ImageData
from metamixer.errors import InputError
from metamixer.training.own_data.kinds import understand
from own_folders import picture, write_classes


def listed(folders):
    """The files of each split."""
    return {part: {image for images in classes.values() for image in images} for part, classes in folders.items()}


def test_train_and_distil_hold_out_the_same_images(tmp_path):
    root = write_classes(tmp_path / "data", count=10)
    for seed in (0, 1):
        understand(root, seed).prepare(run := tmp_path / f"run{seed}")
        split = json.loads((run / "split.json").read_text())
        data = DistillationData(str(root), seed=seed)
        val = data.evaluation_dataset("val")
        held = {val.filename(index) for index in range(len(val))}
        assert held == set(split["validation"]) and {str(root / name) for name in data.names()} == set(split["train"])
    assert listed(folders_of(root, 0)) != listed(folders_of(root, 1))


def test_a_student_of_before_keeps_its_images(tmp_path):
    """Its config.yaml has this `holdout`, and its cache is of these images, in this order."""
    root = write_classes(tmp_path / "data", count=11, side=8)
    data = DistillationData(str(root), holdout=5)
    val = data.evaluation_dataset("val")
    assert [Path(val.filename(index)).stem for index in range(4)] == ["4", "9", "4", "9"]
    train = [number for number in range(11) if number not in (4, 9)]
    assert data.names() == [f"{name}/{number}.png" for name in ("blue", "red") for number in train]


def test_classes_have_subfolders_and_natural_order(tmp_path):
    for name in ("class 10", "class 9"):
        write_classes(tmp_path / "train", names=[f"{name}/day", f"{name}/night"], count=2, side=8)
        write_classes(tmp_path / "val", names=[name], count=1, side=8)
    (tmp_path / "train/.cache").mkdir()
    picture(8).save(tmp_path / "train/.cache/0.png")
    assert ImageData(str(tmp_path)).training_dataset().reader.class_to_idx == {"class 9": 0, "class 10": 1}
    reader = FolderReader(class_images(tmp_path / "train"))
    assert len(reader) == 8 and reader[0] == (str(tmp_path / "train/class 9/day/0.png"), 0)
    assert has_classes(tmp_path) and not has_classes(tmp_path / "train/class 9/day")


def test_no_image_is_left_out_without_a_word(tmp_path):
    root = write_classes(tmp_path / "data", names=("blue", "red", "red/more"), count=6, side=40)
    for number, suffix in enumerate([".jfif", ".avif", ".heic", ".heic", ""]):
        picture(40).save(root / f"blue/a{number}{suffix}", format="AVIF" if suffix == ".avif" else "JPEG")
    picture(40).save(root / "all.png")
    data = understand(root)
    found, _, ignored = data.understood.partition("; not used: ")
    assert found == "20 images in 2 classes (blue, red), 4 held out for validation"
    assert ignored.startswith("2 .heic, ") and "1 images in data" in ignored and "1 a4" in ignored
    data.prepare(tmp_path / "run")
    written = tmp_path / "run/split"
    assert len([image for image in written.rglob("*.*") if image.resolve().is_file()]) == 20
    assert len(list(written.glob("*/red/more/*.png"))) == 6


def test_an_empty_class_says_what_is_in_it(tmp_path):
    root = write_classes(tmp_path / "data", side=8)
    (root / "green").mkdir()
    picture(8).save(root / "green/a.heic", format="JPEG")
    with pytest.raises(InputError, match=r"no images in class 'green'; not used: 1 \.heic, expected some"):
        understand(root)


def test_training_images_beside_test_images_are_divided(tmp_path):
    root = tmp_path / "data"
    for part, count in (("Train", 5), ("test", 2)):
        write_classes(root / part, count=count, side=40)
    data = understand(root)
    found = "10 images in 2 classes (blue, red), 2 held out for validation; not used: 4 images in test"
    assert data.understood.startswith(found)
    assert len(ImageData(data.prepare(tmp_path / "run")["root"]).training_dataset()) == 8
    assert len(DistillationData(str(root)).names()) == 8
    write_classes(root / "Val", count=1, side=40)
    assert "10 images in 2 classes (blue, red), 2 more for validation" in (data := understand(root)).understood
    assert len(ImageData(data.prepare(tmp_path / "split")["root"]).evaluation_dataset("val")) == 2


def test_a_class_may_be_called_train(tmp_path):
    root = write_classes(tmp_path / "data", names=("bus", "train"), side=8)
    assert list(folders_of(root)["train"]) == ["bus", "train"]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["val/a", "test/a"], "folders test, val, expected one for each class, or train and val of them"),
        (["images/train/a", "images/train/b", "images/test/a"], "one class .* each of at least two, or .*data/images"),
        (["train", "val"], "train: no folders of classes; not used: 1 images in train, expected a folder for each"),
    ],
)
def test_a_layout_that_is_nearly_right_says_what_was_found(folders, message, tmp_path):
    for folder in folders:
        (tmp_path / "data" / folder).mkdir(parents=True)
        picture(8).save(tmp_path / "data" / folder / "0.png")
    with pytest.raises(InputError, match=message):
        understand(tmp_path / "data")


def test_a_folder_of_no_kind_says_what_is_in_it(tmp_path):
    picture(8).save(tmp_path / "0.heic", format="JPEG")
    with pytest.raises(InputError, match=r"nothing to train on, expected one of: .*; found 1 \.heic$"):
        understand(tmp_path)


def test_a_class_of_one_split_is_named(tmp_path):
    write_classes(tmp_path / "train", names=("blue", "green", "red"), count=2, side=8)
    write_classes(tmp_path / "val", count=2, side=8)
    message = r"class 'green' \(1 such\) of the training split has no images in the validation split"
    with pytest.raises(InputError, match=message):
        understand(tmp_path)
    (tmp_path / "val/green").mkdir()
    with pytest.raises(InputError, match="val: no images in class 'green'"):
        understand(tmp_path)
