"""`metamixer train DATA`: where a training starts, how long it takes, what it ends with, and how it is resumed."""

import json
import re
import shlex
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

import metamixer
from metamixer.checkpoints.ours import load_checkpoint, load_initial, network_info, save_network
from metamixer.checkpoints.packaged import packaged_weights
from metamixer.checkpoints.reached import reached
from metamixer.cli import main
from metamixer.errors import InputError, InputWarning
from metamixer.models.tasks import TASKS
from metamixer.predictors.own_data import training as own_training
from metamixer.predictors.own_data.training import Trained, run_folder
from metamixer.tasks.classification import Classification
from metamixer.tasks.detection import Detection
from metamixer.training.command_line import TrainingCLI
from metamixer.training.own_data import training
from metamixer.training.own_data.clouds import full_intensity
from metamixer.training.own_data.kinds import understand
from metamixer.training.own_data.start import find_start
from metamixer.training.own_data.training import recipe_of
from own_folders import write_classes, write_clouds, write_coco, write_large, write_masks


def test_training_ends_with_the_figure_the_path_and_the_next_command(tmp_path, capfd):
    data = write_classes(tmp_path / "data", count=5, side=40)
    command = ["train", str(data), "--out", str(tmp_path / "run"), "--epochs", "1"]
    assert main(command) == 0
    lines = capfd.readouterr().out.splitlines()
    best = tmp_path / "run" / "best.ckpt"
    assert any("10 images in 2 classes (blue, red)" in line for line in lines)
    start = (
        "training ffnet_nano from ffnet_nano_mini_imagenet.safetensors with a new class layer: 1 epoch(, in bf.*)?; "
    )
    assert any(re.search(f"{start}the run is in", line) for line in lines)
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


def test_large_images_start_from_the_packaged_upscaler(tmp_path):
    start = find_start(understand(write_large(tmp_path / "data")), None)
    assert str(start) == "ffnet_sr_nano from ffnet_sr_nano_x2.safetensors"
    trainable = metamixer.create_model(start.model, **start.model_args, scale=2)
    load_initial(trainable, start.file)
    image = torch.rand(1, 3, 12, 10)
    assert torch.equal(trainable(image), load_checkpoint(start.file)[0](image))


def test_a_detector_starts_on_the_packaged_backbone(tmp_path):
    data = understand(write_coco(tmp_path / "data"))
    start = find_start(data, None)
    assert str(start) == "cascade_mask_rcnn_ffnet_nano on a pretrained backbone"
    assert recipe_of(data, start, tmp_path / "run", tmp_path / "data_1", seed=0)["model"]["init_args"][
        "pretrained_backbone"
    ]
    detector = Detection(start.model, 1, model_args=dict(start.model_args), pretrained_backbone=True)
    packaged = metamixer.create_model("ffnet_nano", pretrained=True).state_dict()
    ours = detector.network.pyramid.backbone.model.state_dict()
    stem = [name for name in packaged if name.startswith("stem.")]
    assert stem and all(torch.equal(ours[name], packaged[name]) for name in stem)


@pytest.mark.parametrize(
    ("write", "names"),
    [(write_classes, ["blue", "red"]), (write_masks, ["0", "3"]), (write_coco, ["tile"]), (write_clouds, ["0", "1"])],
)
def test_the_class_layer_is_kept_for_the_same_classes_alone(write, names, tmp_path):
    data = understand(write(tmp_path / "data"))
    seen = {"preprocessing": {"features": ["position"]}} if write is write_clouds else {}
    for number, (known, new) in enumerate([(names, None), ([*names, "x"], True), (None, True)]):
        info = network_info(data.network, {}, task=data.task.name, classes=known, **seen)
        file = tmp_path / f"{number}.safetensors"
        save_network(torch.nn.Linear(1, 1), info, file)
        recipe = recipe_of(data, find_start(data, str(file)), tmp_path / "run", tmp_path / f"data_{number}", seed=1)
        assert recipe["model"]["init_args"].get("new_classifier") is new
        assert training.class_layer(recipe) == (" with a new class layer" if new else " with its class layer")


def test_a_training_on_the_same_classes_starts_with_their_layer(tmp_path):
    data, file = understand(write_classes(tmp_path / "data", count=2, side=40)), tmp_path / "mine.safetensors"
    network = metamixer.create_model("ffnet_nano", num_classes=2)
    info = network_info("ffnet_nano", {"num_classes": 2}, task="classification", classes=["blue", "red"])
    save_network(network, info, file)
    recipe = recipe_of(data, find_start(data, str(file)), tmp_path / "run", tmp_path / "data_1", seed=1)
    task = Classification(**{**recipe["model"]["init_args"], "optimization": None})
    assert torch.equal(task.network.get_classifier().weight, network.get_classifier().weight)


def test_a_training_starts_from_a_run_folder_or_packaged_weights(tmp_path):
    data = understand(write_classes(tmp_path / "data"))
    packaged = packaged_weights("ffnet_nano.mini_imagenet")
    assert find_start(data, "ffnet_nano") == find_start(data, "ffnet_nano.mini_imagenet") == find_start(data, None)
    (tmp_path / "run").mkdir()
    shutil.copy(packaged, tmp_path / "run" / "best.safetensors")
    assert find_start(data, str(tmp_path / "run")).file == tmp_path / "run" / "best.safetensors"


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        ("ffnet_1", "initial ffnet_1, expected scratch, a checkpoint, the folder of a run, or the name of packaged"),
        ("ffnet_nono", "initial ffnet_nono, expected scratch, a checkpoint, the folder of a run, or the name of"),
        ("ffnet_sr_nano", "initial ffnet_sr_nano, expected scratch or an unfused checkpoint for classification"),
        ("missing.ckpt", "missing.ckpt: no such file"),
    ],
)
def test_a_wrong_start_is_one_line(initial, message, tmp_path):
    with pytest.raises(InputError, match=f"^{message}"):
        find_start(understand(write_classes(tmp_path / "data")), initial)


SEEN = ("position", "colour", "normal")
LIDAR = "ffnet_3d_nano_semantickitti"
STARTED_ON_LIDAR = f"{LIDAR}.safetensors (license CC BY-NC-SA 4.0)"


@pytest.mark.parametrize(
    ("attributes", "initial", "started", "features", "in_chans"),
    [
        ({}, None, "scratch", ["position"], 3),
        ({"intensity": 0.5}, None, STARTED_ON_LIDAR, ["height", "intensity"], 2),
        ({"intensity": 0.5}, "scratch", "scratch", ["position", "intensity"], 4),
        ({"intensity": 0.0}, None, "scratch", ["position"], 3),
        ({"normal": [0, 0, 1], "intensity": 0.5, "color": [9, 9, 9]}, None, "scratch", [*SEEN, "intensity"], 10),
        ({"normal": [0, 0, 1], "color": [9, 9, 9]}, None, "scratch", [*SEEN], 9),
        ({"intensity": 0.5, "color": [9, 9, 9]}, LIDAR, STARTED_ON_LIDAR, ["height", "intensity"], 2),
    ],
)
def test_clouds_train_on_what_all_of_them_have(attributes, initial, started, features, in_chans, tmp_path):
    data = understand(write_clouds(tmp_path / "data", **attributes))
    start = find_start(data, initial)
    assert str(start) == f"ffnet_3d_nano from {started}"
    recipe = recipe_of(data, start, tmp_path / "run", tmp_path / "data_1", seed=0)
    assert recipe["data"]["init_args"]["preprocessing"]["features"] == features
    assert recipe["data"]["init_args"]["preprocessing"].get("centred", True) == ("position" in features)
    assert training.features_named(recipe) == f" on {', '.join(features)}"
    assert recipe["model"]["init_args"]["model_args"]["in_chans"] == in_chans


@pytest.mark.parametrize(
    ("suffix", "largest", "full"),
    [("las", 255, 255), ("LAZ", 200, 255), ("las", 300, 511), ("las", 60000, None), ("las", 0, None), ("ply", 9, None)],
)
def test_the_intensity_of_few_bits_fills_the_scale(suffix, largest, full, tmp_path):
    assert full_intensity([Path(f"a.{suffix}")], largest / 65535) == full
    data = understand(write_clouds(tmp_path / "data", intensity=0.5))
    data = replace(data, inputs_for=partial(data.inputs_for, intensity_max=full))
    recipe = recipe_of(data, find_start(data, None), tmp_path / "run", tmp_path / "data_1", seed=0)
    assert recipe["data"]["init_args"]["preprocessing"]["intensity_max"] == full
    assert training.features_named(recipe) == " on height, intensity" + (f" (0 to {full})" if full else "")


def test_a_start_that_needs_more_than_the_clouds_have_is_refused(tmp_path):
    data = understand(write_clouds(tmp_path / "data"))
    with pytest.raises(
        InputError, match="initial of a network that uses height, intensity, expected one without inten"
    ):
        find_start(data, LIDAR)


def test_scratch_is_a_random_initialization(tmp_path):
    assert str(find_start(understand(write_classes(tmp_path / "photos")), "scratch")) == "ffnet_nano from scratch"


@pytest.mark.parametrize(("able", "precision"), [(True, {"precision": "bf16-mixed"}), (False, {})])
def test_images_train_in_bfloat16_where_the_processor_computes_it(able, precision, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "computes_bfloat16", lambda: able)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    data = understand(write_classes(tmp_path / "data"), 0)
    recipe = recipe_of(data, find_start(data, None), tmp_path / "run", tmp_path / "data_1", seed=0)
    assert recipe["trainer"] == {"devices": 1, "log_every_n_steps": 1, **precision}
    assert training.precision_named(recipe) == (", in bfloat16" if able else "")


@pytest.mark.parametrize("fitting", [1, 9, 19, 29, 97, 99])
def test_fitting_epochs_are_validated_about_ten_times(fitting, monkeypatch):
    clock = training.StepClock()
    clock.times = [0.0, 1.0]
    trial = SimpleNamespace(trainer=SimpleNamespace(callbacks=[clock], num_training_batches=1))
    monkeypatch.setattr(training, "run_recipe", lambda *_: trial)
    data = SimpleNamespace(items=8, val_items=0, most_epochs=100, for_epochs=lambda epochs: {})
    recipe = {"model": {"init_args": {"optimization": {}}}, "data": {"init_args": {}}, "trainer": {}}
    epochs = training.fitting_epochs(data, recipe, seconds=fitting + 0.5)
    assert 0.9 * fitting <= epochs <= fitting
    every = training.with_epochs(data, recipe, epochs)["trainer"]["check_val_every_n_epoch"]
    assert epochs % every == 0 and min(epochs, 10) <= epochs // every < 20


@pytest.mark.parametrize(("write", "milestones"), [(write_classes, None), (write_coco, (78.75, 96.6))])
def test_the_last_of_added_epochs_is_validated(write, milestones, tmp_path, monkeypatch):
    data, out, settled = write(tmp_path / "data"), tmp_path / "run", []
    monkeypatch.setattr(TrainingCLI, "instantiate_classes", lambda cli: settled.append(cli.config["fit"]))
    monkeypatch.setattr(TrainingCLI, "_run_subcommand", lambda *_: None)
    monkeypatch.setattr(training, "finished", lambda data, cli, out, epochs: training.Run(data, out, 0.5, epochs))
    metamixer.train(data, out=out, epochs=100)
    torch.save({"epoch": 99}, out / "last.ckpt")
    metamixer.train(data, out=out, epochs=105, resume=True)
    trainer = settled[1].trainer
    assert trainer.max_epochs == 105 and 105 % trainer.check_val_every_n_epoch == 0
    assert settled[1].model.init_args.optimization.get("milestones") == milestones


def test_the_next_command_can_be_pasted(tmp_path):
    best = tmp_path / "my flowers" / "best.ckpt"
    trained = Trained(TASKS["classification"], best, 0.75, val_items=4, epochs=3)
    assert shlex.split(trained.next_command) == ["metamixer", "predict", "IMAGES", "--checkpoint", str(best)]


def test_each_folder_of_data_has_its_own_run(tmp_path):
    (tmp_path / "flowers.v1").mkdir()
    (tmp_path / "sales.csv").touch()
    assert run_folder(tmp_path / "flowers.v1", None) == Path("runs/flowers.v1")
    assert run_folder(tmp_path / "sales.csv", None) == Path("runs/sales")


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), 1e308])
def test_minutes_must_be_some_and_within_a_year(minutes, tmp_path):
    with pytest.raises(
        InputError, match=f"minutes {minutes:g}, expected a number above 0, at most 525600".replace("+", ".")
    ):
        metamixer.train(write_classes(tmp_path / "data"), minutes=minutes)


@pytest.mark.parametrize("command", ["train", "distil"])
@pytest.mark.parametrize("epochs", [0, 10**20])
def test_epochs_out_of_range_are_refused(command, epochs, tmp_path, capsys):
    teacher = ["--teacher", "test_vit"] if command == "distil" else []
    assert main([command, str(tmp_path), *teacher, "--epochs", str(epochs)]) == 2
    assert capsys.readouterr().err == f"metamixer: error: epochs {epochs}, expected an integer from 1 to 1000000\n"


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_has_32_bits(seed, tmp_path):
    with pytest.raises(InputError, match=f"seed {seed}, expected an integer from 0 to 4294967295"):
        metamixer.train(write_classes(tmp_path / "data"), seed=seed)
