"""What is wrong with a recipe is one line that names it, exit code 2."""

import subprocess
import sys

import pytest

from metamixer.cli import main

DIGITS = """
model:
  class_path: Classification
  init_args: {model: ffnet_nano, num_classes: 10, model_args: {depths: [1, 1, 1, 1]}}
data: {class_path: DigitsData}
"""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00x", "not UTF-8"),
        (b"trainer: 3", "trainer 3, expected settings by name"),
        (b"[1, 2]", "holds list, expected settings"),
        (b"", "holds NoneType, expected settings"),
        (b"model: {", "not readable as YAML (line 1"),
        (b"- " * 5000, "expected a recipe"),
        (f"{DIGITS}trainer: {{accelerator: cpu, devices: 0}}".encode(), "0"),
        (f"{DIGITS}trainer: {{accelerator: cpu, strategy: fsdp}}".encode(), "FSDP"),
        (f"{DIGITS}trainer: {{accelerator: cpu, max_epochs: [1]}}".encode(), "max_epochs"),
        (DIGITS.replace("depths: [1, 1, 1, 1]", "depths: x").encode(), "depths x"),
        (DIGITS.replace("ffnet_nano", "ffnet_9").encode(), "no such model"),
    ],
)
def test_a_wrong_recipe_is_named(content, message, tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_bytes(content)
    options = ["--out", str(tmp_path / "run"), "--trainer.limit_train_batches", "1", "--trainer.max_epochs", "1"]
    extra = [] if b"max_epochs" in content else options[2:]
    assert main(["fit", "--config", str(tmp_path / "recipe.yaml"), *options[:2], *extra]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"metamixer: error: {tmp_path / 'recipe.yaml'}: ")
    assert message.lower() in error.lower()


def test_a_closed_standard_output_is_no_traceback():
    command = f"{sys.executable} -m metamixer --version >&-"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
