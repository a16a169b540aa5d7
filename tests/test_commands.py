"""The commands other than training: what they print, write and refuse."""

import functools
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import metamixer
from metamixer.checkpoints.ours import load_checkpoint, load_initial, network_info, save_network
from metamixer.cli import main
from metamixer.commands.batch import Batch
from metamixer.commands.forecast import forecast
from metamixer.commands.models import models
from metamixer.commands.picture_files import plan
from metamixer.data import Preprocessing
from metamixer.errors import InputError, first_line
from metamixer.predictors.classifier import Classifier
from metamixer.zoo.networks import METRICS
from random_statistics import randomize

CLASSES = ["circle", "square", "triangle"]


SMALL = {"num_classes": 3, "depths": (1, 1, 1, 1), "dims": (8, 16, 32, 64), "stem_dim": 8}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The checkpoint of a small network with three classes."""
    network = randomize(metamixer.create_model("ffnet_nano", **SMALL).eval())
    preprocessing = Preprocessing(size=32, crop_pct=1.0).as_dict()
    info = network_info("ffnet_nano", SMALL, task="classification", classes=CLASSES, preprocessing=preprocessing)
    path = tmp_path_factory.mktemp("original") / "shapes.safetensors"
    save_network(network, info, path)
    return path


@pytest.fixture
def checkpoint(original, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copy(original, tmp_path))


@pytest.fixture
def pictures(tmp_path):
    """A folder with two images in two formats, one of them in a subfolder, and a text file."""
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 20).save(folder / "a.png")
    Image.radial_gradient("L").save(folder / "below" / "b.jpg")
    (folder / "notes.txt").write_text("not a picture")
    return folder


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("pictures/a.png", ["--overwrite"], "is one of the inputs, expected another folder"),
        ("shapes.safetensors", ["--overwrite"], "is one of the inputs, expected another folder"),
        ("pictures/notes.txt", [], "exists, expected another name or folder, or --overwrite"),
    ],
)
def test_predict_replaces_no_input_and_other_files_only_when_asked(
    name, options, said, checkpoint, pictures, tmp_path, capsys
):
    before = (tmp_path / name).read_bytes()
    assert (
        main(["predict", "--checkpoint", str(checkpoint), "--json", str(tmp_path / name), *options, str(pictures)]) == 2
    )
    assert said in capsys.readouterr().err
    assert (tmp_path / name).read_bytes() == before


def test_predict_prints_and_writes_the_networks_predictions(checkpoint, pictures, tmp_path, capsys):
    out = tmp_path / "result.json"
    out.touch()
    assert main(["predict", "--checkpoint", str(checkpoint), "--json", str(out), "--overwrite", str(pictures)]) == 0
    printed = capsys.readouterr().out
    results = json.loads(out.read_text())
    assert [result["image"] for result in results] == [str(pictures / "a.png"), str(pictures / "below" / "b.jpg")]
    for result in results:
        shares = [entry["probability"] for entry in result["classes"]]
        assert sorted(entry["name"] for entry in result["classes"]) == CLASSES
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)
        assert result["image"] in printed
    network, _ = load_checkpoint(checkpoint)
    image = Preprocessing(size=32, crop_pct=1.0).transform()(Image.open(pictures / "a.png").convert("RGB"))
    with torch.inference_mode():
        best = network(image[None]).argmax().item()
    assert results[0]["classes"][0]["name"] == CLASSES[best]


def test_predict_takes_several_images_and_fewer_classes(checkpoint, pictures, capsys):
    images = [str(pictures / "a.png"), str(pictures / "below" / "b.jpg")]
    assert (
        main(["predict", *images, "--checkpoint", str(checkpoint), "--top", "1", "--json", "-", "--batch-size", "1"])
        == 0
    )
    assert [len(result["classes"]) for result in json.loads(capsys.readouterr().out)] == [1, 1]


def test_an_image_given_twice_is_classified_once(checkpoint, pictures, capsys):
    options = ["--checkpoint", str(checkpoint), "--json", "-", "--batch-size", "1"]
    assert main(["predict", str(pictures), str(pictures / "a.png"), *options]) == 0
    images = [Path(result["image"]).name for result in json.loads(capsys.readouterr().out)]
    assert images == ["a.png", "b.jpg"]


def test_an_image_given_twice_is_processed_once(pictures, tmp_path):
    given = [str(pictures), str(pictures / "a.png"), str(pictures / "below" / "b.jpg")]
    jobs = plan(given, tmp_path / "out", compare=False, overwrite=False)
    assert [target for _, target, _ in jobs] == [tmp_path / "out" / "a.png", tmp_path / "out" / "below" / "b.jpg"]


def test_a_backend_is_chosen_for_the_batch_size_that_runs(checkpoint, pictures, monkeypatch):
    seen = []
    deploy = "metamixer.predictors.predictor.deploy"
    monkeypatch.setattr(deploy, lambda network, example, *args, **settings: seen.append(example) or network)
    assert main(["predict", "--checkpoint", str(checkpoint), "--backend", "auto", str(pictures)]) == 0
    assert seen[0].shape == (2, 3, 32, 32)
    assert seen[0].std() > 0.5


def test_fuse_writes_a_deploy_form_that_predicts_the_same(checkpoint, pictures, tmp_path, capsys):
    out = tmp_path / "deploy" / "fused.safetensors"
    assert main(["fuse", str(checkpoint), "--out", str(out)]) == 0
    assert "parity" in capsys.readouterr().out
    images = [pictures / "a.png"]
    original, fused = (Classifier.load(checkpoint=path)(images) for path in (checkpoint, out))
    torch.testing.assert_close(fused, original, rtol=1e-4, atol=1e-5)
    network, info = load_checkpoint(out)
    assert info["fused"]
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    assert main(["fuse", str(out), "--out", str(tmp_path / "again.safetensors")]) == 0
    assert main(["fuse", str(out), "--out", str(tmp_path / "again.safetensors"), "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("data: [", "config.yaml: not readable as YAML"),
        ("just words", "not a run's configuration"),
        ("model: {}", "not a run's configuration"),
        ("data: {class_path: NoSuchData}", "not a run's configuration"),
        ("data: {class_path: DigitsData, init_args: {size: 3}}", "not a run's configuration"),
        (
            "data: {class_path: DigitsData, init_args: {preprocessing: {std: [0, 0, 0]}}}",
            "preprocessing.std [0.0, 0.0, 0.0], expected values above 0",
        ),
    ],
)
def test_draw_reports_a_broken_configuration(content, message, checkpoint, tmp_path, capsys):
    config = Path(checkpoint).with_name("config.yaml")
    config.write_text(content)
    try:
        assert main(["draw", str(checkpoint), "--out", str(tmp_path / "sheet.png")]) == 2
    finally:
        config.unlink()
    error = capsys.readouterr().err
    assert error.startswith(f"metamixer: error: {config}: ") and message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "file", "table"),
    [
        ("detect", "photo.png", "detections.json"),
        ("segment", "photo.png", "areas.json"),
        ("points", "scan.ply", "counts.csv"),
        ("points", "room/coord.npy", "counts.csv"),
    ],
)
def test_json_replaces_neither_another_result_nor_an_input(command, file, table, tmp_path, capsys):
    """Which is known before anything is read."""
    source, out = tmp_path / file, tmp_path / "found"
    source.parent.mkdir(exist_ok=True)
    source.touch()
    given = source.parent if file.startswith("room") else source
    for target, said in ((out / table, "the target of two results"), (source, "is one of the inputs")):
        words = [command, str(given), "--out", str(out), "--json", str(target), "--overwrite"]
        assert main(words) == 2
        assert f"{target}: {said}" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "name"), [("fuse", "mine.safetensors"), ("draw", "mine.png")])
def test_fuse_and_draw_replace_files_only_when_asked(command, name, checkpoint, tmp_path, capsys):
    (tmp_path / name).write_text("mine")
    assert main([command, str(checkpoint), "--out", str(tmp_path / name)]) == 2
    assert f"{name}: exists, expected another name or folder, or --overwrite" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "mine"


def test_loading_a_checkpoint_downloads_no_initial_weights(tmp_path):
    given = {"num_classes": 3, "pretrained": True, "cache_dir": "there"}
    info = network_info("ffnet_nano", given, task="classification")
    assert info["model_args"] == {"num_classes": 3}
    save_network(
        metamixer.create_model("ffnet_nano", num_classes=3),
        {**info, "model_args": given},
        tmp_path / "older.safetensors",
    )
    assert load_checkpoint(tmp_path / "older.safetensors")[0].num_classes == 3


def test_classifier_of_a_published_checkpoint_knows_imagenet(tmp_path):
    torch.manual_seed(0)
    network = metamixer.create_model("ffnet_nano")
    torch.save({"state_dict": network.state_dict()}, tmp_path / "nano.pth.tar")
    classifier = Classifier.load(model="ffnet_nano", checkpoint=tmp_path / "nano.pth.tar")
    assert len(classifier.classes) == 1000
    assert classifier.classes[0].startswith("tench")
    assert classifier([Image.new("RGB", (50, 70))]).shape == (1, 1000)


def test_a_training_may_start_from_a_published_file_by_its_url(monkeypatch):
    asked = []
    monkeypatch.setattr("metamixer.checkpoints.ours.load_published", lambda network, source: asked.append(source))
    load_initial(metamixer.create_model("ffnet_nano"), "https://host/ffnet.pth.tar")
    assert asked == ["https://host/ffnet.pth.tar"]


@pytest.mark.parametrize("name", ["ours.safetensors", "published.pth"])
def test_a_training_starts_from_finite_weights(name, tmp_path):
    network = metamixer.create_model("ffnet_nano")
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = float("nan")
    if name == "published.pth":
        torch.save(network.state_dict(), tmp_path / name)
    else:
        save_network(network, network_info("ffnet_nano", {}, task="classification"), tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}: \S+ holds values that are NaN or infinite, expected"):
        load_initial(network, tmp_path / name, new_classifier=True)


def test_models_lists_the_papers_table(capsys):
    assert main(["models"]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[1:]}
    assert rows["ffnet_1.in1k"] == ["13.7", "M", "2.98", "G", "256", "81.3", "(paper)", "download", "55", "MB"]
    assert rows["ffnet_4.in1k_384"] == ["79.2", "M", "43.12", "G", "384", "85.3", "(paper)", "download", "321", "MB"]
    assert rows["ffnet_1_hybrid"][-2:] == ["not", "published"]
    assert rows["ffnet_nano.mini_imagenet"][-3:] == ["in", "the", "package"]
    assert rows["ffnet_sr_nano_x2"][-3:] == ["in", "the", "package"]
    assert rows["ffnet_sr_nano_x3"][-5:-3] == ["33.67", "(ours)"]
    assert all(task in (models.__doc__ or "") for task in METRICS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["paint"], "command 'paint', expected one of predict"),
        (["predict", "--model", "ffnet_9", "--checkpoint", "{checkpoint}", "{pictures}"], "expected ffnet_9"),
        (
            ["predict", "--model", "ffnet_sr_light", "{pictures}"],
            "model 'ffnet_sr_light': its task is super_resolution",
        ),
        *(
            (
                ["predict", "--model", name, "--checkpoint", "{published}", "{pictures}"],
                f"model '{name}': its task is",
            )
            for name in ("ffnet_sr_light", "upernet_ffnet_1", "ffnet_ts")
        ),
        (
            ["predict", "--model", "ffnet_1.pth.tar", "{pictures}"],
            "no such weights, expected ffnet_1.distilled_in1k or ffnet_1.in1k",
        ),
        (["predict", "--model", "resnet5O", "{pictures}"], "model 'resnet5O': no such model; did you mean resnet50"),
        (["predict", "--checkpoint", "{checkpoint}", "{empty}"], "no images in this folder"),
        (["predict", "--checkpoint", "{checkpoint}", "nowhere.jpg"], "nowhere.jpg: no such file"),
        (["predict", "--checkpoint", "{pictures}", "{pictures}"], "{pictures}: is a folder, expected a file"),
        (["predict", "--checkpoint", "{checkpoint}", "{pictures}/notes.txt"], "notes.txt: not a readable image"),
        (["predict", "--checkpoint", "{pictures}/notes.txt", "{pictures}"], "notes.txt: not a readable checkpoint"),
        (
            ["predict", "--checkpoint", "{checkpoint}", "{pictures}", "--batch_size", "0"],
            "batch_size 0, expected at least 1",
        ),
        (
            ["predict", "--checkpoint", "{checkpoint}", "{pictures}", "--batch_size", "-1"],
            "batch_size -1, expected at least 1",
        ),
        (["predict", "--checkpoint", "{checkpoint}", "{pictures}", "--top", "0"], "top 0, expected at least 1"),
        (["predict", "--checkpoint", "{checkpoint}", "{pictures}", "--top", "-1"], "top -1, expected at least 1"),
        (["predict", "--checkpoint", "{checkpoint}", "a" * 300], f"{'a' * 300}: File name too long"),
        (["fuse", "{checkpoint}", "--out", "fused.pth"], "expected a name that ends in .safetensors"),
        (["draw", "{checkpoint}"], "config.yaml: no such file"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, said, checkpoint, pictures, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    torch.save({"weight": torch.zeros(1)}, tmp_path / "published.pth")
    places = {
        "checkpoint": checkpoint,
        "pictures": pictures,
        "empty": tmp_path / "empty",
        "published": tmp_path / "published.pth",
    }
    assert main([argument.format(**places) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert said.format(**places) in captured.err
    assert captured.err.count("\n") == 1


def test_unusual_file_names_are_printed_in_any_encoding(checkpoint, pictures, monkeypatch):
    (pictures / "m\xe4d.png").write_bytes((pictures / "a.png").read_bytes())
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr("sys.stdout", ascii_only)
    assert main(["predict", "--checkpoint", str(checkpoint), str(pictures)]) == 0
    ascii_only.flush()
    assert b"m\\xe4d.png" in ascii_only.buffer.getvalue()


def test_a_closed_pipe_ends_a_command_silently():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "metamixer", "models"]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (141, "")


def test_a_closed_pipe_is_no_fault_of_a_file():
    batch = Batch(2, "out")
    with pytest.raises(BrokenPipeError), batch, batch.file(Path("a.png")):
        raise BrokenPipeError
    assert batch.failures == []


def test_a_truncated_image_is_named_and_the_others_classified(checkpoint, pictures, tmp_path, capsys):
    whole = (pictures / "below" / "b.jpg").read_bytes()
    (pictures / "below" / "c.jpg").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "result.json"
    assert main(["predict", "--checkpoint", str(checkpoint), "--json", str(out), str(pictures)]) == 2
    error = capsys.readouterr().err
    assert "c.jpg: not a readable image" in error
    assert f"1 of 3 files failed, named above; the others are in {out}" in error
    assert [Path(result["image"]).name for result in json.loads(out.read_text())] == ["a.png", "b.jpg"]


@pytest.mark.parametrize(
    ("json", "files", "said"),
    [
        ("result.json", ["notes.txt", "more.txt"], "2 of 2 files failed, named above"),
        ("-", ["notes.txt", "a.png"], "1 of 2 files failed, named above; the others are in the output"),
    ],
)
def test_a_failure_says_where_the_other_results_are(
    json, files, said, checkpoint, pictures, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (pictures / "more.txt").write_text("not a picture either")
    assert (
        main(["predict", "--checkpoint", str(checkpoint), "--json", json, *(str(pictures / name) for name in files)])
        == 2
    )
    assert capsys.readouterr().err.endswith(f"error: {said}\n")
    assert not (tmp_path / "result.json").exists()


def test_exif_orientation_is_applied(checkpoint, tmp_path):
    upright = Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 20).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.png", exif=exif)
    classifier = Classifier.load(checkpoint=checkpoint)
    assert torch.equal(classifier([tmp_path / "lying.png"]), classifier([upright]))


def test_saving_to_a_full_disk_leaves_the_old_file(checkpoint, monkeypatch):
    before = checkpoint.read_bytes()

    def no_space(path, content):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_space)
    with pytest.raises(metamixer.InputError, match="No space left"):
        save_network(metamixer.create_model("ffnet_nano", num_classes=3), {}, checkpoint)
    assert checkpoint.read_bytes() == before
    assert list(checkpoint.parent.glob(".*part")) == []


@pytest.mark.parametrize(
    ("said", "line"), [("two\nlines", "two"), ("\n  late", "late"), ("", "ValueError"), ("\n", "ValueError")]
)
def test_errors_of_other_libraries_are_one_line(said, line):
    assert first_line(ValueError(said)) == line


@pytest.mark.parametrize(
    "levels",
    [["--levels", "80", "95"], ["--levels", "[80, 95]"], ["--levels=[80, 95]"], ["--levels=[80,95]"]],
    ids=" ".join,
)
def test_lists_are_words_after_their_option_or_one_in_brackets(levels, monkeypatch):
    seen = {}
    stand_in = functools.wraps(forecast)(lambda **options: seen.update(options))
    monkeypatch.setattr("metamixer.commands.forecast.forecast", stand_in)
    assert main(["forecast", *levels, "table.csv", "--missing-values", "-9999", "1e9", "--overwrite"]) == 0
    assert (seen["table"], seen["levels"], seen["missing_values"], seen["overwrite"]) == (
        "table.csv",
        [80, 95],
        [-9999, 1e9],
        True,
    )
