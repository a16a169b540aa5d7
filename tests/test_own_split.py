"""`metamixer train DATA`: the split, and the files of it in the run folder."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metamixer.cli import main
from metamixer.errors import InputError
from metamixer.training.own_data.kinds import understand
from metamixer.training.own_data.training import naming_originals
from metamixer.training.own_data.understood import place, split
from own_folders import picture, write_classes, write_coco, write_masks


def test_the_split_is_stratified_and_follows_the_seed(tmp_path):
    data = understand(write_classes(tmp_path / "data", count=10))
    data.prepare(tmp_path / "run")
    held = json.loads((tmp_path / "run" / "split.json").read_text())["validation"]
    assert sum("/blue/" in name for name in held) == sum("/red/" in name for name in held) == 2
    assert split(range(50), 0) == split(range(50), 0) != split(range(50), 1)


@pytest.mark.parametrize("write", [write_masks, write_coco])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_rare_class_of_masks_and_objects_is_in_both_parts(write, seed, tmp_path):
    root = write(tmp_path / "data", count=12)
    for number in (4, 9):
        if write is write_masks:
            Image.fromarray(np.eye(64, dtype=np.uint8) * 7).save(root / "masks" / f"{number}.png")
            continue
        content = json.loads((root / "all.json").read_text())
        content["annotations"][number]["category_id"] = 8
        categories = [{"id": 7, "name": "tile"}, {"id": 8, "name": "rare"}]
        (root / "all.json").write_text(json.dumps({**content, "categories": categories}))
    data = understand(root, seed)
    data.prepare(tmp_path / "run")
    parts = json.loads((tmp_path / "run" / "split.json").read_text())
    assert len(parts["train"]) == data.items and len(parts["val"]) == data.val_items <= 3
    rare = [[name for name in part if Path(name).stem in ("4", "9")] for part in parts.values()]
    assert [len(names) for names in rare] == [1, 1]


def test_a_split_that_is_there_is_kept(tmp_path):
    for part, count in (("train", 4), ("val", 2)):
        write_classes(tmp_path / "data" / part, count=count)
    data = understand(tmp_path / "data")
    assert "8 images in 2 classes (blue, red), 4 more for validation" in data.understood
    assert data.prepare(tmp_path / "run")["root"] == str(tmp_path / "data")


def test_masks_of_one_name_in_several_folders_stay_as_they_are(tmp_path):
    root = write_masks(tmp_path / "data", count=1)
    for folder, value in (("a", 3), ("b", 5)):
        for kind in ("images", "masks"):
            (root / kind / folder).mkdir()
        for number in range(3):
            picture(64, (40 * value, 0, number)).save(root / "images" / folder / f"{number}.png")
            mask = Image.fromarray(np.eye(64, dtype=np.uint8) * value)
            mask.save(root / "masks" / folder / f"{number}.png")
    before = {path: path.read_bytes() for path in root.rglob("*.*g")}
    written = Path(understand(root).prepare(tmp_path / "run")["root"])
    assert [path for path, content in before.items() if path.read_bytes() != content] == []
    assert {path.resolve() for path in written.rglob("*.*g")} == set(before)


def test_a_file_of_the_split_is_never_written_twice(tmp_path):
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    for file in (first, second):
        file.write_text(file.stem)
    place(first, tmp_path / "split" / "one.png")
    with pytest.raises(InputError, match=r"b\.png: .*one\.png exists, expected different names of files"):
        place(second, tmp_path / "split" / "one.png")
    assert first.read_text() == "a"


def test_a_folder_split_of_the_user_is_never_removed(tmp_path, capsys):
    data = write_classes(tmp_path / "flowers" / "split", count=2)
    before = sorted(data.rglob("*"))
    assert main(["train", str(data), "--out", str(data.parent), "--epochs", "1"]) == 2
    assert f"out {data.parent}: {data} isn't from an earlier run, expected another folder" in capsys.readouterr().err
    assert sorted(data.rglob("*")) == before
    assert [path.name for path in data.parent.iterdir() if path.name != ".lock"] == ["split"]


HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "a+")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_in_which_another_process_trains_stays_as_it_is(tmp_path, capsys):
    data, out = write_classes(tmp_path / "data", count=2), tmp_path / "run"
    (out / "split").mkdir(parents=True)
    for name in ("split.json", "recipe.yaml"):
        (out / name).write_text("of the other")
    command = [sys.executable, "-c", HOLDER, str(out / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        assert main(["train", str(data), "--out", str(out), "--epochs", "1"]) == 2
    assert "trains there, expected another folder, or that run to end first" in capsys.readouterr().err
    assert {path.name for path in out.rglob("*")} == {".lock", "split", "split.json", "recipe.yaml"}
    assert all((out / name).read_text() == "of the other" for name in ("split.json", "recipe.yaml"))


def test_a_fault_in_a_linked_file_is_told_of_the_users_file(tmp_path):
    (tmp_path / "split").mkdir()
    (tmp_path / "split/a.png").symlink_to("/data/a.png")
    with pytest.raises(InputError, match=r"^/data/a\.png: not readable"), naming_originals(tmp_path / "split"):
        raise InputError(f"{tmp_path}/split/a.png: not readable")
