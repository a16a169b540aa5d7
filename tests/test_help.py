"""The command line's help, its defaults and its last lines: short, without PyTorch, about what the user typed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

import metamixer
from metamixer.cli import main
from metamixer.commands import COMMANDS, TRAINING
from metamixer.commands.help import options_of
from metamixer.commands.shared_options import SHARED_OPTIONS
from metamixer.models.tasks import TASKS
from metamixer.system.files import free_name
from metamixer.training.messages import plain
from pictures import picture

EVERY_HELP = """
import sys
from metamixer import cli
for words in ["--help"], ["models"], ["--version"], *([name, "--help"] for name in cli.COMMANDS):
    assert cli.main(words) == 0
for name in set(cli.COMMANDS) - set(cli.TRAINING):
    assert cli.main([name, "--help", "all"]) == 0
print([name for name in ("torch", "timm", "lightning") if name in sys.modules])
"""


def test_help_and_models_import_no_torch():
    result = subprocess.run([sys.executable, "-c", EVERY_HELP], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("\n[]\n")


@pytest.mark.parametrize(
    "words", [[], *([name] for name in COMMANDS)], ids=lambda words: " ".join(words) or "metamixer"
)
def test_help_fits_on_a_screen_and_begins_with_examples(words, capsys):
    assert main([*words, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 110
    assert any(line.startswith("  metamixer ") for line in lines)
    assert "--help all" in "\n".join(lines)


def test_evaluation_has_no_options_of_training(capsys):
    for name in ("validate", "test"):
        assert main([name, "--help"]) == 0
        text = capsys.readouterr().out
        assert "--config digits" in text and "the checkpoint to evaluate" in text
        assert not any(option in text for option in ("--resume", "--trainer.max_epochs", "to continue"))


def test_every_option_is_told_and_every_usual_one_is_there():
    for name in set(COMMANDS) - set(TRAINING):
        options = {option.name: option for option in options_of(name)}
        assert set(COMMANDS[name].options) <= set(options), name
        assert [key for key, option in options.items() if not option.about] == [], name


def test_shared_help_is_of_several_commands():
    told = [(option.name, option.about) for name in set(COMMANDS) - set(TRAINING) for option in options_of(name)]
    assert min(map(told.count, SHARED_OPTIONS.items())) > 1


def test_every_task_has_its_command():
    assert {task.command for task in TASKS.values()} <= set(COMMANDS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["detekt"], "did you mean detect?"),
        (["upscale", "a.png", "--scle", "2"], "upscale --scle: no such option; did you mean --scale?"),
        (["upscale", "a.png", "--scal=2"], "upscale --scal: no such option; did you mean --scale?"),
        (["upscale", "s3://bucket/a.png"], "s3://bucket/a.png: a URL, expected a file or folder or an https URL"),
        (["forecast", "http://example.org/a.csv"], "http://example.org/a.csv: expected an https URL"),
        (["train", "https://example.org/a.csv"], "https://example.org/a.csv: a URL, expected a file or folder"),
        (["upscale", ""], "images '', expected the name of a file or folder"),
        (["train", ""], "data '', expected the name of a file or folder"),
        (["upscale", "a.png", "--checkpoint", ""], "checkpoint '', expected a value, or no --checkpoint"),
        (["detect", "a.png", "--json="], "json '', expected a value, or no --json"),
        (["upscale"], "upscale needs IMAGES; see metamixer upscale --help"),
        (["export", "ffnet_nano"], "export needs --format FORMAT; see metamixer export --help"),
        (["predict", "a.png", "--out", "a.json"], "out 'a.json' without --engine, expected --json FILE for the result"),
        (["restore", "a.png", "--pictures"], "pictures True without --engine, expected it with --engine local or ray"),
        (["--completion", "csh"], "--completion csh, expected one of bash, zsh, fish"),
    ],
)
def test_what_there_is_not_is_named_with_the_nearest(words, said, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "unrecognized arguments: --trainer.max_epoch 1",
            "--trainer.max_epoch: no such option; did you mean --trainer.max_epochs?",
        ),
        (
            'Parser key "model": Does not validate against any of the Union subtypes Subtypes: [x] Errors: - Problem '
            "with given class_path 'metamixer.tasks.Classification': Option 'modle' is not accepted - Expected a",
            "model.modle: Classification has no such option; did you mean --model.model?",
        ),
        (
            'Parser key "trainer.max_epochs": Does not validate against any of the Union subtypes Subtypes: '
            "[<class 'int'>, <class 'NoneType'>] Errors: - Expected a <class 'int'> Given value type: <class 'str'> "
            "Given value: x",
            "trainer.max_epochs 'x', expected a whole number",
        ),
        (
            "Parser key \"memory\": Expected a <class 'int'>. Got value: nan",
            "memory 'nan', expected a whole number",
        ),
        (
            'Parser key "train": Does not validate against any of the Union subtypes Subtypes: '
            "[typing.Literal['none', 'scratch'], <class 'NoneType'>] Errors: - Expected Given value: x",
            "train 'x', expected one of none, scratch",
        ),
    ],
)
def test_fit_speaks_of_the_option_that_was_typed(message, said):
    assert plain(message, ["--trainer.max_epochs", "--out"]) == said


def test_a_shell_completes_commands(tmp_path):
    words = "metamixer ups"
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": words, "COMP_POINT": str(len(words)), "_ARGCOMPLETE_IFS": "\n"}
    answer = tmp_path / "answer"
    command = [sys.executable, "-m", "metamixer"]
    environment = {**os.environ, **asked, "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    subprocess.run(command, env=environment, check=False, capture_output=True)
    assert answer.read_text().split() == ["upscale"]


def test_a_free_name_is_one_that_nothing_has(tmp_path):
    assert free_name(tmp_path / "a.csv") == str(tmp_path / "a.csv")
    for name in ("a.csv", "a_2.csv"):
        (tmp_path / name).touch()
    assert free_name(tmp_path / "a.csv") == str(tmp_path / "a_3.csv")
    assert free_name(tmp_path / "a.csv", overwrite=True) == str(tmp_path / "a.csv")


class TestUpscale:
    """The command with weights in the package, so that nothing has to be trained."""

    @pytest.fixture(autouse=True)
    def here(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        picture("RGB").save("a.png")

    def test_writes_the_file_that_out_names(self):
        assert main(["upscale", "a.png", "--out", "b.png"]) == 0
        with Image.open("b.png") as image:
            assert image.size == (60, 40)

    def test_writes_the_format_that_out_names(self):
        for name, form in (("b.webp", "WEBP"), ("b.jpg", "JPEG"), ("b.tif", "TIFF")):
            assert main(["upscale", "a.png", "--out", name]) == 0
            with Image.open(name) as image:
                assert (image.format, image.size) == (form, (60, 40))

    def test_keeps_the_orientation_in_another_format(self, capsys):
        exif = Image.Exif()
        exif.update({ExifTags.Base.Orientation: 6, ExifTags.Base.ImageWidth: 30})
        picture("RGB").save("turned.jpg", exif=exif)
        for name in ("b.png", "b.webp", "b.tif"):
            assert main(["upscale", "turned.jpg", "--out", name]) == 0
            with Image.open(name) as image:
                assert ImageOps.exif_transpose(image).size == (40, 60)
        assert main(["upscale", "turned.jpg", "--out", "b.bmp"]) == 2
        assert "b.bmp: BMP has no EXIF orientation, expected a name that ends in .png" in capsys.readouterr().err

    def test_refuses_a_format_that_cannot_represent_the_image(self, capsys):
        picture("RGBA").save("clear.png")
        Image.fromarray(np.full((20, 30), 4096, np.uint16)).save("deep.png")
        for words, said in (
            (["a.png", "--out", "b.txt"], "out 'b.txt', expected a name that ends in one of .png, .jpg, .jpeg, .webp"),
            (["clear.png", "--out", "b.jpg"], "b.jpg: JPEG has no transparency, expected a name that ends in .png"),
            (["deep.png", "--out", "b.webp"], "b.webp: an image of 16 bits, expected a name that ends in .png"),
            (["a.png", "clear.png", "--out", "b.jpg"], "out 'b.jpg', expected a folder for the results of several"),
        ):
            assert main(["upscale", *words]) == 2
            assert said in capsys.readouterr().err
        assert not [*Path().glob("b.*")]

    def test_has_a_default_and_says_what_is_next(self, capsys):
        for name in ("a_upscaled.png", "a_upscaled_2.png"):
            assert main(["upscale", "a.png"]) == 0
            assert Path(name).is_file()
            chosen, wrote, then = capsys.readouterr().out.splitlines()
            assert (chosen, wrote) == ("a.png: lossless file, clean weights", f"wrote {name}")
            assert then.startswith("next: ")

    def test_takes_every_name_of_weights(self, capsys):
        assert main(["upscale", "a.png", "--model", "ffnet_sr_nano_x3", "--out", "b.png"]) == 0
        with Image.open("b.png") as image:
            assert image.size == (90, 60)
        assert main(["restore", "a.png", "--model", "ffnet_restore_gray"]) == 0
        assert main(["upscale", "a.png", "--model", "ffnet_sr_nano_x3", "--scale", "2"]) == 2
        assert "ffnet_sr_nano_x3: no weights for scale 2, expected scale 3" in capsys.readouterr().err

    def test_gives_json_alone(self, capsys):
        assert main(["upscale", "a.png", "--json", "-"]) == 0
        (result,) = json.loads(capsys.readouterr().out)
        assert result == {"image": "a.png", "result": "a_upscaled.png", "scale": 2, "weights": "clean"}


def test_a_command_names_the_networks_without_weights(capsys):
    assert main(["predict", "--model", "ffnet_1_hybrid", __file__]) == 2
    error = capsys.readouterr().err
    assert "model 'ffnet_1_hybrid': no weights are published" in error
    assert "overlay" not in error


def test_the_package_knows_its_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"metamixer {metamixer.__version__}\n"
