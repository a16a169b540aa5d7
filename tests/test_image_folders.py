"""Folders of images: one reading, and one split, for `fit`, `train` and `distil`."""

import json
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from metamixer.commands.distil import _split_of
from metamixer.data.images.distillation import DistillationData
from metamixer.data.images.folders import FolderReader, class_images, folders_of, has_classes
from metamixer.data.images.labelled import ImageData
from metamixer.errors import InputError
from metamixer.training.own_data.images import expect_readable
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


def test_a_student_is_validated_on_images_that_its_teacher_has_not_seen(tmp_path):
    root = write_classes(tmp_path / "data", count=10, side=40)
    understand(root, seed=3).prepare(run := tmp_path / "run")
    (run / "best.ckpt").touch()
    listed_before = json.loads((run / "split.json").read_text())
    picture(40).save(root / "red/new.png")
    for teacher in (run, run / "best.ckpt"):
        split = _split_of(str(teacher), str(root))
        files = DistillationData(str(root), split=split).files()
        assert list(map(str, files["validation"])) == listed_before["validation"]
        assert root / "red/new.png" in files["train"] and len(files["train"]) == 17
    other = write_classes(tmp_path / "other", side=40)
    assert _split_of(str(run), str(other)) is _split_of("resnet18", str(root)) is None
    with pytest.raises(InputError, match="blue: 0 of 5 images are listed for validation, expected some, not all"):
        DistillationData(str(other), split=split).files()
    (run / "split.json").write_text("{}")
    with pytest.raises(InputError, match=r"split\.json: no list of validation images \('validation'\), expected the"):
        DistillationData(str(root), split=split).files()


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
    assert ignored.startswith("2 .heic, ") and f"1 image in {root}" in ignored and "1 a4" in ignored
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
        (
            ["val/a", "test/a"],
            "folders test, val, expected one for each class, or train and val, .*; found 1 image in ",
        ),
        (["images/train/a", "images/train/b", "images/test/a"], "one class .* each of at least two, or .*data/images"),
        (["train", "val"], "train: no folders of classes; not used: 1 image in .*train, expected a folder for each"),
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


def test_an_image_that_is_too_large_is_to_be_made_smaller(tmp_path):
    """`train` has no --max_pixels."""
    root = write_classes(tmp_path / "data", side=8)
    claimed = b"IHDR" + struct.pack(">2I5B", 20000, 20000, 8, 0, 0, 0, 0)
    written = (root / "red/0.png").read_bytes()
    (root / "red/0.png").write_bytes(written[:12] + claimed + struct.pack(">I", zlib.crc32(claimed)) + written[33:])
    with pytest.raises(InputError, match=r"0\.png: more than 178956970 pixels, expected fewer: make it smaller; 1 of"):
        understand(root)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("part", ["train", "val"])
def test_a_truncated_image_is_named_before_training(suffix, part, tmp_path):
    for each in ("train", "val"):
        write_classes(tmp_path / each, count=2, side=40)
    file = tmp_path / part / f"red/a.{suffix}"
    picture(300).save(file)
    understand(tmp_path)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    message = rf"a\.{suffix}: not a readable image .*; 1 of 9 images can't be used, mend or remove them"
    with pytest.raises(InputError, match=message):
        understand(tmp_path)
    assert expect_readable([file], most=1000) == [(300, 300)]


def test_an_image_without_a_white_point_is_named_before_training(tmp_path):
    root = write_classes(tmp_path, side=8)
    Image.new("I", (8, 8), 70000).save(root / "red/a.tif")
    with pytest.raises(InputError, match=r"a\.tif: mode I, whose white point is unknown"):
        understand(root)


def test_a_class_of_one_split_is_named(tmp_path):
    write_classes(tmp_path / "train", names=("blue", "green", "red"), count=2, side=8)
    write_classes(tmp_path / "val", count=2, side=8)
    message = r"class 'green' \(1 such\) of the training split has no images in the validation split"
    with pytest.raises(InputError, match=message):
        understand(tmp_path)
    (tmp_path / "val/green").mkdir()
    with pytest.raises(InputError, match="val: no images in class 'green'"):
        understand(tmp_path)
