"""`metamixer train DATA`: what a folder is understood to be, the split, and a training from it."""

import json
import re
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
from metamixer.checkpoints.ours import load_checkpoint, load_initial
from metamixer.checkpoints.reached import reached
from metamixer.cli import main
from metamixer.errors import InputError, InputWarning
from metamixer.models.tasks import TASKS
from metamixer.predictors import own_training
from metamixer.predictors.own_training import Trained
from metamixer.tasks.detection import Detection
from metamixer.training.own_data import training
from metamixer.training.own_data.kinds import understand
from metamixer.training.own_data.objects import coco_files
from metamixer.training.own_data.start import find_start
from metamixer.training.own_data.training import naming_originals, recipe_of
from metamixer.training.own_data.understood import place, split
from metamixer.training.recipes import find_recipe, name_of, nearest_recipe, recipe_names, with_recipes
from tables import write_table

RANDOM = np.random.RandomState(0)


def picture(side=100, colour=(200, 60, 40)):
    noise = RANDOM.randint(-30, 30, (side, side, 3))
    return Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))


def write_classes(root, names=("blue", "red"), count=5, side=100):
    for i, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(count):
            picture(side, (200 * i, 60, 220 - 200 * i)).save(root / name / f"{number}.png")
    return root


def write_coco(root, count=5):
    (root / "images").mkdir(parents=True)
    for i in range(count):
        picture(64).save(root / "images" / f"{i}.png")
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 64} for i in range(count)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 7, "bbox": [4, 4, 30, 30], "area": 900, "iscrowd": 0}
            | {"segmentation": [[4, 4, 34, 4, 34, 34, 4, 34]]}
            for i in range(count)
        ],
        "categories": [{"id": 7, "name": "tile"}],
    }
    (root / "all.json").write_text(json.dumps(content))
    return root


def write_masks(root, count=5):
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for i in range(count):
        picture(64).save(root / "images" / f"{i}.jpg")
        Image.fromarray(np.eye(64, dtype=np.uint8) * 3).save(root / "masks" / f"{i}.png")
    return root


def write_large(root, count=4):
    root.mkdir()
    for i in range(count):
        picture(100).save(root / f"{i}.png")
    return root


def write_clouds(root, count=3):
    root.mkdir()
    for i in range(count):
        points = RANDOM.rand(50, 3)
        np.savez(root / f"{i}.npz", coord=points, segment=(points[:, 2] > 0.5).astype(int))
    return root


KINDS = {
    "classification": (write_classes, "10 images in 2 classes (blue, red), 2 held out for validation"),
    "detection": (write_coco, "5 images with 5 objects of 1 class (tile), 1 held out for validation"),
    "segmentation": (write_masks, "5 images with masks of 2 classes (0, 3), 1 held out for validation"),
    "super_resolution": (write_large, "4 large images, 1 held out for validation"),
    "points": (write_clouds, "3 clouds with 150 points of 2 classes, 1 held out for validation"),
    "forecasting": (write_table, "120 dates of 3 series"),
}


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


def test_two_images_of_one_mask_are_refused(tmp_path):
    root = write_masks(tmp_path / "data")
    picture(64).save(root / "images" / "0.png")
    with pytest.raises(InputError, match=r"images/0\.png: has the mask of .*images/0\.jpg, expected a mask of its own"):
        understand(root)


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


def test_a_split_that_is_there_is_kept(tmp_path):
    for part, count in (("train", 4), ("val", 2)):
        write_classes(tmp_path / "data" / part, count=count)
    data = understand(tmp_path / "data")
    assert "8 images in 2 classes (blue, red), 4 more for validation" in data.understood
    assert data.prepare(tmp_path / "run")["root"] == str(tmp_path / "data")


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
        np.savez(root / f"{i}.npz", coord=RANDOM.rand(9, 3))


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


def test_training_ends_with_the_figure_the_path_and_the_next_command(tmp_path, capfd):
    data = write_classes(tmp_path / "data", count=5, side=40)
    command = ["train", str(data), "--out", str(tmp_path / "run"), "--epochs", "1"]
    assert main(command) == 0
    lines = capfd.readouterr().out.splitlines()
    best = tmp_path / "run" / "best.ckpt"
    assert any("10 images in 2 classes (blue, red)" in line for line in lines)
    start = "training ffnet_nano from ffnet_nano_mini_imagenet.safetensors: 1 epoch(, in bfloat16)?; the run is in"
    assert any(re.search(start, line) for line in lines)
    assert f"weights in {best}" in lines[-2] and re.match(r"top-1 accuracy \d+\.\d % on the validation", lines[-2])
    assert lines[-1] == f"next: metamixer predict IMAGES --checkpoint {best}"
    assert yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["model"]["init_args"]["num_classes"] == 2
    classifier = metamixer.load(best)
    assert classifier.classes == ["blue", "red"] and classifier.preprocessing.size == 32
    figure = re.match(r"top-1 accuracy \d+\.\d %", lines[-2])[0]
    for source, said in (
        (best.parent, f"Reached {figure} on the validation split of data: 10 images in 2 classes"),
        (best.with_name("last.ckpt"), "Training data, recipe, metrics and license: to be added"),
    ):
        hub = tmp_path / source.stem
        assert main(["export", str(source), "--format", "hub", "--out", str(hub / "hub")]) == 0
        assert said in (hub / "hub" / "README.md").read_text()
    (best.parent / "data.json").unlink()  # as in a run of `metamixer fit`
    assert reached(best, "classification") == f"{figure} on the validation split of split (ImageData)"


def test_a_short_training_warns_and_is_resumed(tmp_path, capfd):
    data, out = write_classes(tmp_path / "data", count=5, side=40), tmp_path / "run"
    with pytest.warns(InputWarning, match="only 1 training step, expected a weak network; increase --minutes or"):
        metamixer.train(data, out=out, epochs=1, resume="auto")
    split = (out / "split.json").read_text()
    again = ["train", str(data), "--out", str(out), "--initial", "scratch", "--epochs", "2", "--resume", "auto"]
    assert main(again) == 0
    assert f"resuming the run in {out}, 2 epochs in all" in capfd.readouterr().out
    assert torch.load(out / "last.ckpt", weights_only=True)["epoch"] == 1  # the second one
    assert (out / "split.json").read_text() == split
    assert main(["train", str(data), "--out", str(out), "--resume", "--epochs", "1"]) == 2
    assert f"epochs 1, expected at least 2, which the run in {out} has already" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        (None, [], "recipe.yaml: no such file, expected a run of metamixer train in"),
        ("{}", [], "recipe.yaml: not written by metamixer train, expected the recipe of a run"),
        ("{data: {class_path: SeriesData}, trainer: {max_epochs: 2}}", [], "run: a run on SeriesData, expected one on"),
        ("{}", ["--initial", "a.ckpt"], "initial a.ckpt with resume, expected none"),
    ],
)
def test_what_cannot_be_resumed_is_one_line(recipe, options, message, tmp_path, capsys):
    data, out = write_classes(tmp_path / "data"), tmp_path / "run"
    if recipe:
        out.mkdir()
        (out / "recipe.yaml").write_text(recipe)
        (out / "last.ckpt").touch()
    assert main(["train", str(data), "--out", str(out), "--resume", *options]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("fitting", [1, 9, 19, 29, 97, 99])
def test_fitting_epochs_are_validated_about_ten_times(fitting, monkeypatch):
    clock = training.StepClock()
    clock.times = [0.0, 1.0]
    trial = SimpleNamespace(trainer=SimpleNamespace(callbacks=[clock], num_training_batches=1))
    monkeypatch.setattr(training, "run_recipe", lambda *_: trial)
    data = SimpleNamespace(items=8, val_items=0, most_epochs=100, task=TASKS["classification"])
    recipe = {"model": {}, "data": {"init_args": {}}, "trainer": {}}
    epochs = training.fitting_epochs(data, recipe, seconds=fitting + 0.5)
    assert 0.9 * fitting <= epochs <= fitting
    every = training.with_epochs(data, recipe, epochs)["trainer"]["check_val_every_n_epoch"]
    assert epochs % every == 0 and min(epochs, 10) <= epochs // every < 20


def test_large_images_start_from_the_packaged_upscaler(tmp_path):
    start = find_start(understand(write_large(tmp_path / "data")), None)
    assert str(start) == "ffnet_sr_nano from ffnet_sr_nano_x2.safetensors"
    trainable = metamixer.create_model(start.model, **start.model_args, scale=2)
    load_initial(trainable, start.file)
    image = torch.rand(1, 3, 12, 10)
    assert torch.equal(trainable(image), load_checkpoint(start.file)[0](image))


def test_scratch_is_a_random_initialization(tmp_path):
    assert str(find_start(understand(write_classes(tmp_path / "photos")), "scratch")) == "ffnet_nano from scratch"


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


def test_a_fault_in_a_table_is_told_of_its_file(tmp_path):
    (tmp_path / "a.csv").write_text("date,a\n2024-01-01,x\n2024-01-02,1\n")
    with pytest.raises(InputError, match=rf"^{tmp_path}/a\.csv: column 'a', row 1: 'x', expected a number"):
        understand(tmp_path / "a.csv")


def test_a_fault_in_a_linked_file_is_told_of_the_users_file(tmp_path):
    (tmp_path / "split").mkdir()
    (tmp_path / "split/a.png").symlink_to("/data/a.png")
    with pytest.raises(InputError, match=r"^/data/a\.png: not readable"), naming_originals(tmp_path / "split"):
        raise InputError(f"{tmp_path}/split/a.png: not readable")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_has_32_bits(seed, tmp_path):
    with pytest.raises(InputError, match=f"seed {seed}, expected an integer from 0 to 4294967295"):
        metamixer.train(write_classes(tmp_path / "data"), seed=seed)


def test_the_result_as_json(tmp_path, monkeypatch, capsys):
    trained = Trained(TASKS["classification"], tmp_path / "best.ckpt", 0.75, val_items=4, epochs=3)

    def train(*given, **options):
        print("training")
        return trained

    monkeypatch.setattr(own_training, "train", train)
    flowers = str(write_classes(tmp_path / "flowers"))
    assert main(["train", flowers, "--json", "-"]) == 0
    said = capsys.readouterr()
    about = {"task": "classification", "checkpoint": str(tmp_path / "best.ckpt"), "metric": trained.task.metric}
    assert json.loads(said.out) == {**about, "value": 0.75, "val_items": 4, "epochs": 3}
    assert said.err == "training\n"
    assert main(["train", flowers, "--json", str(tmp_path / "result.json")]) == 0
    assert json.loads((tmp_path / "result.json").read_text())["value"] == 0.75
    assert capsys.readouterr().out.splitlines()[-1] == f"next: {trained.next_command}"


def test_a_detector_starts_on_the_packaged_backbone(tmp_path):
    data = understand(write_coco(tmp_path / "data"))
    start = find_start(data, None)
    assert str(start) == "cascade_mask_rcnn_ffnet_nano on a pretrained backbone"
    assert recipe_of(data, start, tmp_path / "run", seed=0)["model"]["init_args"]["pretrained_backbone"]
    detector = Detection(start.model, 1, model_args=dict(start.model_args), pretrained_backbone=True)
    packaged = metamixer.create_model("ffnet_nano", pretrained=True).state_dict()
    ours = detector.network.pyramid.backbone.model.state_dict()
    stem = [name for name in packaged if name.startswith("stem.")]
    assert stem and all(torch.equal(ours[name], packaged[name]) for name in stem)


@pytest.mark.parametrize(("able", "precision"), [(True, {"precision": "bf16-mixed"}), (False, {})])
def test_images_train_in_bfloat16_where_the_processor_computes_it(able, precision, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "computes_bfloat16", lambda: able)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    data = understand(write_classes(tmp_path / "data"), 0)
    recipe = recipe_of(data, find_start(data, None), tmp_path / "run", seed=0)
    assert recipe["trainer"] == {"log_every_n_steps": 1, **precision}
    assert training.precision_named(recipe) == (", in bfloat16" if able else "")


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), 1e308])
def test_minutes_must_be_some_and_within_a_year(minutes, tmp_path):
    with pytest.raises(
        InputError, match=f"minutes {minutes:g}, expected a number above 0, at most 525600".replace("+", ".")
    ):
        metamixer.train(write_classes(tmp_path / "data"), minutes=minutes)


def test_recipes_are_found_by_name(tmp_path):
    assert find_recipe("imagenette").endswith("recipes/classification/imagenette.yaml")
    assert find_recipe("detection/own_data").endswith("recipes/detection/own_data.yaml")
    assert with_recipes(["fit", "--config", "digits", "--config=imagenette"])[2:] == [
        find_recipe("digits"),
        f"--config={find_recipe('imagenette')}",
    ]
    assert find_recipe("nowhere.yaml") == "nowhere.yaml" and len(recipe_names()) > 40
    assert name_of(find_recipe("digits")) == "classification/digits" and name_of("nowhere.yaml") == "nowhere.yaml"
    assert nearest_recipe("digit") == "; did you mean digits?" and nearest_recipe("wxyz") == ""
    with pytest.raises(InputError, match="config 'own_data', expected one of detection/own_data, points/own_data"):
        find_recipe("own_data")


@pytest.mark.parametrize("command", ["train", "distil"])
@pytest.mark.parametrize("epochs", [0, 10**20])
def test_epochs_out_of_range_are_refused(command, epochs, tmp_path, capsys):
    teacher = ["--teacher", "test_vit"] if command == "distil" else []
    assert main([command, str(tmp_path), *teacher, "--epochs", str(epochs)]) == 2
    assert capsys.readouterr().err == f"metamixer: error: epochs {epochs}, expected an integer from 1 to 1000000\n"
