"""`metamixer train DATA`: where a training starts, how long it takes, what it ends with, and how it is resumed."""

import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

import metamixer
from metamixer.checkpoints.ours import load_checkpoint, load_initial
from metamixer.checkpoints.reached import reached
from metamixer.cli import main
from metamixer.errors import InputError, InputWarning
from metamixer.models.tasks import TASKS
from metamixer.predictors.own_data import training as own_training
from metamixer.predictors.own_data.training import Trained, run_folder
from metamixer.tasks.detection import Detection
from metamixer.training.command_line import TrainingCLI
from metamixer.training.own_data import training
from metamixer.training.own_data.kinds import understand
from metamixer.training.own_data.start import find_start
from metamixer.training.own_data.training import recipe_of
from own_folders import write_classes, write_coco, write_large


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
