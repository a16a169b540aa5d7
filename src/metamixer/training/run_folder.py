"""What a training run leaves in its folder, whole or not at all and beside what an earlier one left."""

import io
from collections.abc import Container
from itertools import count
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ..system.files import written_whole


class WholeCheckpointIO(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all; Lightning's own pass through the folder for temporary files."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        file = io.BytesIO()  # a full disk would end the process in PyTorch's own writer
        torch.save(checkpoint, file)
        with written_whole(path) as part:
            part.write_bytes(file.getbuffer())


class SaveConfigInRun(SaveConfigCallback):
    """The configuration beside the checkpoints, for `metamixer draw`; an earlier run that this one doesn't go on from
    makes way.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs, save_to_log_dir=False)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Nothing yet: a run that is refused leaves the folder as it was."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            out = Path(trainer.default_root_dir)
            if not trainer.ckpt_path or Path(trainer.ckpt_path).resolve().parent != out.resolve():
                logs = {Path(logger.log_dir).resolve() for logger in trainer.loggers if logger.log_dir}
                keep_earlier_run(out, logs=logs)
            self.save_config(trainer, pl_module, "fit")

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # A run by this file is a new one, also where this run went on from a checkpoint.
        config = self.config.clone()
        config.resume, config.ckpt_path = False, None
        with written_whole(Path(trainer.default_root_dir, self.config_filename)) as part:
            self.parser.save(config, part, skip_none=False, overwrite=True, multifile=self.multifile)


def keep_earlier_run(out: Path, *, logs: Container[Path]) -> None:
    """Move what a run left in a folder into `earlier_run_N` there; logs: folders of the run that begins, which stay."""
    earlier = [out / name for name in ("best.ckpt", "last.ckpt", "config.yaml") if (out / name).is_file()]
    earlier += [path for path in out.glob("logs/version_*") if path.resolve() not in logs]
    if not earlier:
        return
    folder = next(folder for i in count(1) if not (folder := out / f"earlier_run_{i}").exists())
    for path in earlier:
        target = folder / path.relative_to(out)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    print(f"{out}: held an earlier run, which is in {folder} now")
