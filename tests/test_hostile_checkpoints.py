"""A checkpoint sets weights and state, never a class, a function or a path."""

import sys
from pathlib import Path

import pytest
import torch

from metamixer.checkpoints.ours import keep_paths_within
from metamixer.cli import main

CALLED: list[str] = []
DIGITS = [
    "--model=Classification",
    "--model.model=ffnet_nano",
    "--model.num_classes=10",
    '--model.model_args={"depths": [1, 1, 1, 1]}',
    "--data=DigitsData",
    "--data.batch_size=16",
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=1",
    "--trainer.limit_val_batches=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]


def teacher():
    """What a hostile checkpoint wants called."""
    CALLED.append("teacher")
    raise SystemExit("called")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    assert main(["fit", *DIGITS, "--out", str(out)]) == 0
    return out


NAME = f"{__name__}:teacher"
DISTILLATION = {"kind": "hard", "alpha": 0.5, "teacher": {"model": NAME}}
NETWORK = {"model": "ffnet_nano", "num_classes": 10}


@pytest.mark.parametrize(
    "hostile",
    [
        {"class_path": "Classification", "init_args": {**NETWORK, "distillation": DISTILLATION}},
        {"_class_path": f"{__name__}.Evil", "a": 1},
        {"_instantiator": f"{__name__}.teacher"},
        {**NETWORK, "initial": "/etc/passwd"},
    ],
)
def test_settings_in_a_checkpoint_are_not_looked_at(run, tmp_path, hostile, capsys):
    content = torch.load(run / "last.ckpt", weights_only=True)
    for key in ("hyper_parameters", "datamodule_hyper_parameters"):
        content[key] = hostile
    torch.save(content, tmp_path / "hostile.ckpt")
    sys.modules[__name__].CALLED.clear()
    options = [*DIGITS, "--out", str(tmp_path / "out"), "--ckpt_path", str(tmp_path / "hostile.ckpt")]
    assert main(["validate", *options]) == 0
    assert "val/top1" in capsys.readouterr().out
    assert CALLED == []


def test_no_file_outside_the_run_is_removed_because_a_checkpoint_names_it(run, tmp_path):
    victim = tmp_path / "victim.ckpt"
    victim.write_text("precious")
    content = torch.load(run / "last.ckpt", weights_only=True)
    inside = f"{run.resolve()}/../{victim.relative_to(run.parent)}"
    for state in content["callbacks"].values():
        if "best_model_path" in state:
            state |= {"best_model_path": inside, "kth_best_model_path": inside, "last_model_path": inside}
            state["best_k_models"] = {inside: torch.tensor(-1.0)}
    torch.save(content, run / "last.ckpt")
    assert main(["fit", *DIGITS, "--out", str(run), "--resume", "true", "--trainer.max_epochs", "2"]) == 0
    assert victim.read_text() == "precious"
    assert (run / "last.ckpt").is_file()


def test_paths_of_the_run_itself_are_kept(tmp_path):
    best = str(Path(tmp_path.resolve(), "best.ckpt"))
    state = {
        "best_model_path": best,
        "kth_best_model_path": best,
        "last_model_path": "",
        "best_k_models": {best: torch.tensor(1.0)},
    }
    checkpoint = {"callbacks": {"ModelCheckpoint": dict(state), "Other": {"a": 1}}}
    keep_paths_within(checkpoint, tmp_path)
    assert checkpoint["callbacks"] == {"ModelCheckpoint": state, "Other": {"a": 1}}
