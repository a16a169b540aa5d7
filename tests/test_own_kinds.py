"""`metamixer train DATA`: what a folder is understood to be, and the faults that are found in it."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from metamixer.cli import main
from metamixer.errors import InputError, InputWarning
from metamixer.training.own_data.kinds import understand
from metamixer.training.own_data.objects import coco_files, files_of_splits
from own_folders import picture, write_classes, write_clouds, write_coco, write_large, write_masks
from tables import write_table

KINDS = {
    "classification": (write_classes, "10 images in 2 classes (blue, red), 2 held out for validation"),
    "detection": (write_coco, "5 images with 5 objects of 1 class (tile), 1 held out for validation"),
    "segmentation": (write_masks, "5 images with masks of 2 classes (0, 3), 1 held out for validation"),
    "super_resolution": (write_large, "4 large images, 1 held out for validation"),
    "points": (write_clouds, "3 clouds with 150 points of 2 classes, 1 held out for validation"),
    "forecasting": (write_table, "120 dates of 3 series"),
}


@pytest.mark.parametrize("task", KINDS)
def test_a_folder_is_understood_and_divided(task, tmp_path):
    write, said = KINDS[task]
    data = understand(write(tmp_path / "data"))
    assert data.task.name == task and said in data.understood
    assert data.items > 0 and data.val_items > 0
    first, again = (data.prepare(tmp_path / f"run{i}") for i in range(2))
    written = [json.loads((tmp_path / f"run{i}" / "split.json").read_text()) for i in range(2)]
    assert written[0] == written[1] and first.keys() == again.keys()
    if task != "forecasting":
        train, val = (
            set(written[0][key]) for key in (("train", "val") if "val" in written[0] else ("train", "validation"))
        )
        assert train and val and not train & val


@pytest.mark.parametrize(
    ("told", "names", "ignored"),
    [
        ("classes: [low, high]", {0: "low", 1: "high"}, []),
        ("classes: {1: high, 7: far}\nignored: [0]", {1: "high", 7: "far"}, [0]),
    ],
)
def test_clouds_get_the_names_of_their_yaml_file(told, names, ignored, tmp_path):
    root = write_clouds(tmp_path / "data")
    (root / "clouds.yaml").write_text(told)
    (tmp_path / "run").mkdir()
    prepared = understand(root).prepare(tmp_path / "run")
    written = yaml.safe_load(Path(prepared["description"]).read_text())
    assert (written["classes"], written["ignored"]) == (names, ignored)


def test_scans_with_labels_in_kittis_layout_are_clouds(tmp_path):
    raw = np.array([10, 252, 10, 40, 40], dtype="<u4")
    for folder in ("velodyne", "labels"):
        (tmp_path / "00" / folder).mkdir(parents=True)
    for i in range(3):
        np.random.default_rng(i).random((5, 4)).astype("<f4").tofile(tmp_path / "00" / "velodyne" / f"{i}.bin")
        (raw | 5 << 16).tofile(tmp_path / "00" / "labels" / f"{i}.label")
    (tmp_path / "clouds.yaml").write_text("classes: {10: car, 40: road}\nignored: [252]")
    assert "3 clouds with 15 points of 2 classes, 1 held out" in understand(tmp_path).understood
    (tmp_path / "00" / "labels" / "1.label").unlink()
    with pytest.raises(InputError, match=r"1\.bin: has no labels, expected one per .* in labels/NAME\.label"):
        understand(tmp_path)


def empty(root):
    root.mkdir()


def one_class(root):
    write_classes(root, names=("red",))


def one_image(root):
    write_classes(root, count=1)


def corrupt(root):
    write_classes(root)
    (root / "red" / "0.png").write_bytes(b"no image")


def masks_and_json(root):
    write_masks(root)
    (root / "all.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))


def a_long_name(root):
    root.mkdir()
    images = [{"id": 1, "file_name": f"{'x' * 300}.png", "width": 9, "height": 9}]
    (root / "all.json").write_text(json.dumps({"images": images, "annotations": [], "categories": []}))


def nameless_label(root):
    write_clouds(root)
    (root / "clouds.yaml").write_text("classes: [low]")


def no_labels(root):
    root.mkdir()
    for i in range(2):
        np.savez(root / f"{i}.npz", coord=np.random.RandomState(i).rand(9, 3))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (empty, "nothing to train on, expected one of: images with a COCO JSON file; "),
        (one_class, "one class ('red'), expected a folder for each of at least two"),
        (one_image, "images of class 'blue': found 1, expected at least 2"),
        (corrupt, "0.png: not a readable image"),
        (masks_and_json, "images with a COCO JSON file and images with masks"),
        (a_long_name, "x.png not found, expected it in "),
        (nameless_label, "clouds.yaml: no name of label 1, expected one for each label in the clouds"),
        (no_labels, "0.npz: has no labels, expected one per point"),
        (lambda root: None, "no such file or folder, expected data to train on"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_run(write, message, tmp_path, capsys):
    write(tmp_path / "data")
    assert main(["train", str(tmp_path / "data"), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_two_images_of_one_mask_are_refused(tmp_path):
    root = write_masks(tmp_path / "data")
    picture(64).save(root / "images" / "0.png")
    with pytest.raises(InputError, match=r"images/0\.png: has the mask of .*images/0\.jpg, expected a mask of its own"):
        understand(root)


def test_a_broken_coco_file_is_named(tmp_path):
    """Its images alone may be enough for another kind of training."""
    (file,) = write_coco(tmp_path / "data").glob("*.json")
    file.write_text(file.read_text()[:-9])
    with pytest.warns(InputWarning, match=rf"{file.name}: ignored, not readable JSON \(Expecting"):
        assert coco_files(tmp_path / "data") == []


def test_a_fault_in_coco_is_told_of_the_users_file(tmp_path):
    root = write_coco(tmp_path / "data")
    (file,) = root.rglob("*.json")
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "categories": content["categories"] * 2}))
    with pytest.raises(InputError, match=rf"^{file}: an id occurs twice"):
        understand(root)


@pytest.mark.parametrize(
    ("files", "split"),
    [
        (["instances_trainval"], ("instances_trainval", None)),
        (["train", "trainval", "val"], ("train", "val")),
        (["instances_train2017", "instances_val2017"], ("instances_train2017", "instances_val2017")),
    ],
)
def test_a_coco_file_of_all_images_is_no_split(files, split, tmp_path):
    root = write_coco(tmp_path / "data")
    for name in files:
        (root / f"{name}.json").write_bytes((root / "all.json").read_bytes())
    (root / "all.json").unlink()
    assert files_of_splits(root) == tuple(name and root / f"{name}.json" for name in split)


def test_a_fault_in_a_table_is_told_of_its_file(tmp_path):
    (tmp_path / "a.csv").write_text("date,a\n2024-01-01,x\n2024-01-02,1\n")
    with pytest.raises(InputError, match=rf"^{tmp_path}/a\.csv: column 'a', row 1: 'x', expected a number"):
        understand(tmp_path / "a.csv")
