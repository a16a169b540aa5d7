"""`metamixer train DATA`: the split, and the files of it in the run folder."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import metamixer
from metamixer.checkpoints.packaged import packaged_weights
from metamixer.cli import main
from metamixer.data.held_out import split
from metamixer.errors import InputError
from metamixer.training.own_data import training
from metamixer.training.own_data.kinds import understand
from metamixer.training.own_data.training import naming_originals
from metamixer.training.own_data.understood import place
from own_folders import picture, write_classes, write_clouds, write_coco, write_large, write_masks


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


@pytest.fixture
def trainings(monkeypatch):
    """The words of every `metamixer fit`, which writes its checkpoint without a training."""
    words = []

    def fit(given):
        words.append(given)
        out = given[given.index("--out") + 1] if "--out" in given else yaml.safe_load(Path(given[2]).read_text())["out"]
        torch.save({"epoch": len(words)}, Path(out, "last.ckpt"))
        best = SimpleNamespace(monitor="val/top1", best_model_score=0.5)
        return SimpleNamespace(trainer=SimpleNamespace(checkpoint_callbacks=[best]))

    monkeypatch.setattr(training, "run", fit)
    return words


def files_in(folder):
    """The content of every file in a folder, by its path there."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def held_out(run):
    """The validation images in the folder that a run's recipe names."""
    root = yaml.safe_load((run / "recipe.yaml").read_text())["data"]["init_args"]["root"]
    return {str(path.resolve()) for path in Path(root, "validation").rglob("*.png")}


def test_a_folder_split_of_the_user_is_never_removed(tmp_path, trainings):
    data = write_classes(tmp_path / "flowers" / "split", count=2)
    before = files_in(data)
    metamixer.train(data, out=data.parent, epochs=200)
    assert files_in(data) == before


def test_an_earlier_run_keeps_its_recipe_and_its_split(tmp_path, trainings):
    data, out = write_classes(tmp_path / "data", count=6), tmp_path / "run"
    for seed in (0, 1):
        metamixer.train(data, out=out, epochs=100, seed=seed)
    earlier = out / "earlier_run_1"
    for run, seed in ((earlier, 0), (out, 1)):
        assert yaml.safe_load((run / "recipe.yaml").read_text())["seed_everything"] == seed
        assert held_out(run) == set(json.loads((run / "split.json").read_text())["validation"])
    assert held_out(earlier) != held_out(out)
    metamixer.train(data, out=earlier, resume=True)


def test_a_run_that_does_not_begin_leaves_the_earlier_one(tmp_path, trainings, monkeypatch):
    data, out = write_classes(tmp_path / "data", count=6), tmp_path / "run"
    metamixer.train(data, out=out, epochs=100)
    before = files_in(out)

    def interrupted(*given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fitting_epochs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        metamixer.train(data, out=out, seed=1)
    assert files_in(out) == before


def test_weights_of_the_earlier_run_are_kept_for_the_recipe(tmp_path, trainings):
    data, out = write_classes(tmp_path / "data"), tmp_path / "run"
    out.mkdir()
    weights = out / "best.safetensors"
    shutil.copy(packaged_weights("ffnet_nano.mini_imagenet"), weights)
    before = weights.read_bytes()
    metamixer.train(data, out=out, epochs=100, initial=str(weights))
    assert not weights.exists()
    initial = yaml.safe_load((out / "recipe.yaml").read_text())["model"]["init_args"]["initial"]
    assert Path(initial).read_bytes() == before


@pytest.mark.parametrize("write", [write_classes, write_coco, write_masks, write_large, write_clouds])
def test_a_run_is_resumed_from_every_folder_but_not_on_other_data(write, tmp_path, trainings, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("data"))
    metamixer.train("data", out="run", epochs=100)
    monkeypatch.chdir(tmp_path.parent)
    metamixer.train(tmp_path / "data", out=tmp_path / "run", resume=True)
    for value in yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["data"]["init_args"].values():
        assert not isinstance(value, str) or Path(value).exists()
    write(tmp_path / "other")
    with pytest.raises(InputError, match=r"other: not the data that the run in .*run started with"):
        metamixer.train(tmp_path / "other", out=tmp_path / "run", resume=True)
    assert len(trainings) == 2


def test_a_run_of_an_earlier_version_is_resumed(tmp_path, trainings):
    """It had its split in the folder `split`, and relative paths in split.json, or none."""
    write_classes(tmp_path / "data")
    metamixer.train(tmp_path / "data", out=tmp_path / "run", epochs=100)
    (tmp_path / "run" / "data_1").rename(tmp_path / "run" / "split")
    (tmp_path / "run" / "split.json").unlink()
    metamixer.train(tmp_path / "data", out=tmp_path / "run", resume=True)
    assert len(trainings) == 2


def test_a_run_on_splits_of_the_user_is_not_resumed_with_more_images(tmp_path, trainings, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for part in ("train", "val"):
        write_classes(Path("data", part), count=4)
    metamixer.train("data", out="run", epochs=100)
    monkeypatch.chdir(tmp_path.parent)
    assert metamixer.train(tmp_path / "data", out=tmp_path / "run", resume=True).val_items == 8
    picture().save(tmp_path / "data" / "val" / "red" / "new.png")
    with pytest.raises(InputError, match="data: not the data that the run in"):
        metamixer.train(tmp_path / "data", out=tmp_path / "run", resume=True)


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
