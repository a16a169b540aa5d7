"""Fine-tuning callbacks: what is frozen stays bit for bit the same, everything else learns."""

from types import SimpleNamespace

import pytest
import torch
from lightning import Callback, Trainer
from torch import nn

from metamixer import create_model
from metamixer.data import DigitsData, Preprocessing
from metamixer.errors import InputError
from metamixer.tasks import Classification, FrozenStages, HeadFirst, Optimization


def trained(*callbacks, epochs=2, resumed=None, **model_args):
    """The states of a small network before training and after each epoch; resumed: a checkpoint."""
    torch.manual_seed(0)
    args = {"depths": [1, 1, 1, 1], **model_args}
    optimization = Optimization(warmup_epochs=0)
    task = Classification("ffnet_nano", 10, model_args=args, mixup=0, cutmix=0, optimization=optimization)
    states = [{key: value.clone() for key, value in task.network.state_dict().items()}]

    class Keep(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            states.append({key: value.clone() for key, value in pl_module.network.state_dict().items()})

    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        limit_train_batches=2,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*callbacks, Keep()],
    )
    trainer.fit(task, DigitsData(batch_size=8, preprocessing=Preprocessing(size=32, crop_pct=1.0)), ckpt_path=resumed)
    return states


def changed(before, after):
    return {key for key in before if not torch.equal(before[key], after[key])}


def test_frozen_stages_stay_and_the_others_learn():
    first, *_, last = trained(FrozenStages(2))
    moved = changed(first, last)
    assert not [key for key in moved if key.startswith(("stem.", "stages.0.", "stages.1."))]
    assert {key.split(".")[1] for key in moved if key.startswith("stages.")} == {"2", "3"}
    assert "head.fc.weight" in moved


def test_the_head_learns_alone_at_first():
    first, second, third = trained(HeadFirst(1))
    assert changed(first, second) == {"head.fc.weight", "head.fc.bias"}
    assert [key for key in changed(second, third) if key.startswith("stem.")]


def test_both_together():
    first, second, third = trained(FrozenStages(1), HeadFirst(1))
    assert changed(first, second) == {"head.fc.weight", "head.fc.bias"}
    moved = changed(second, third)
    assert not [key for key in moved if key.startswith(("stem.", "stages.0."))]
    assert [key for key in moved if key.startswith("stages.1.")]


@pytest.mark.parametrize(
    ("callback", "still"), [(HeadFirst, ("stem.", "stages.")), (FrozenStages, ("stem.", "stages.0."))]
)
def test_a_run_resumed_within_an_epoch_holds_the_same(callback, still, tmp_path):
    class Save(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            trainer.save_checkpoint(tmp_path / f"{batch_idx}.ckpt")

    first, whole = trained(callback(1), Save(), epochs=1)
    *_, last = trained(callback(1), epochs=1, resumed=tmp_path / "0.ckpt")
    assert changed(whole, last) == set(), "it ends as the unbroken one"
    assert not [key for key in changed(first, last) if key.startswith(still)]


@pytest.mark.parametrize("stages", [4, 9])
def test_the_last_stage_must_learn(stages):
    with pytest.raises(InputError, match=rf"FrozenStages.stages {stages}, expected 1 to 3"):
        trained(FrozenStages(stages))


DEEP = {"backbone_args": {"depths": (1, 1, 1, 1), "dims": (8, 16, 32, 64), "stem_dim": 8}}
"""Keywords of small networks on a backbone."""


@pytest.mark.parametrize(
    ("name", "backbone"),
    [("ffnet_head_ffnet_nano", "backbone.model."), ("cascade_mask_rcnn_ffnet_nano", "pyramid.backbone.model.")],
)
def test_segmenters_and_detectors_freeze_parts_of_their_backbone(name, backbone):
    task = SimpleNamespace(network=create_model(name, num_classes=3, **DEEP))
    FrozenStages(2).setup(None, task, "fit")
    still = {key for key, parameter in task.network.named_parameters() if not parameter.requires_grad}
    assert {key.removeprefix(backbone).split(".")[0] for key in still} == {"stem", "stages"}
    assert {key.removeprefix(f"{backbone}stages.")[0] for key in still if ".stages." in key} == {"0", "1"}
    first = HeadFirst(1)
    for epoch in (0, 1):
        first.on_train_epoch_start(SimpleNamespace(current_epoch=epoch), task)
        for parameter in task.network.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
        first.on_before_optimizer_step(None, task, None)
        learns = {key for key, parameter in task.network.named_parameters() if parameter.grad is not None}
        in_backbone = {key for key in learns if key.startswith(backbone)}
        assert learns - in_backbone, "the rest always learns"
        assert bool(in_backbone) == (epoch == 1)
        assert not learns & still


def test_a_network_without_stages_is_named():
    with pytest.raises(InputError, match="Linear: no backbone with stages, expected one"):
        FrozenStages().setup(None, SimpleNamespace(network=nn.Linear(2, 2)), "fit")
