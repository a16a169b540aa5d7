"""The folder of a training run: checkpoints and configuration, written atomically; earlier runs are kept."""

import json
import shutil
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ..checkpoints.reached import DATA
from ..data.held_out import listed
from ..data.images.distillation import DistillationData
from ..data.images.outputs import KNOWN, map_array
from ..errors import printable
from ..system.files import write_text, written_whole
from ..system.locks import held
from ..system.weight_files import write_torch_file

CHECKPOINTS = ("best.ckpt", "best.safetensors", "last.ckpt")
"""Files of weights in the folder of a run; best.safetensors is a fine-tuned forecaster."""

TUNING, INITIAL = "fine_tuning.yaml", "initial.safetensors"
"""What fine-tuning on a table starts from: its settings, and its initial weights unless they are the packaged ones."""

RECIPE, SPLIT = "recipe.yaml", "split.json"
"""How `metamixer train` trains, and with which files; `metamixer fit` on that recipe repeats the run."""


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the folder of a run, and remove files that a killed run was writing; raises InputError if it is held."""
    with held(out, use=("trains", "run")):
        for part in out.glob(".*.part"):
            part.unlink(missing_ok=True)
        yield


class WholeCheckpointIO(TorchCheckpointIO):
    """Write checkpoints atomically; Lightning's plugin writes to the folder for temporary files first."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        write_torch_file(checkpoint, path)


class SaveConfigInRun(SaveConfigCallback):
    """Save config.yaml next to the checkpoints; an earlier run that isn't resumed is moved away."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs, save_to_log_dir=False)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Do nothing yet: a refused run leaves the folder unchanged."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            out = Path(trainer.default_root_dir)
            if not trainer.ckpt_path or Path(trainer.ckpt_path).resolve().parent != out.resolve():
                logs = {Path(logger.log_dir).resolve() for logger in trainer.loggers if logger.log_dir}
                keep_earlier_run(out, logs=logs)
            self.save_config(trainer, pl_module, "fit")
            if isinstance(trainer.datamodule, DistillationData):
                list_split(out, trainer.datamodule.files())

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # A run with this file starts anew, even if this run was resumed.
        config = self.config.clone()
        config.resume, config.ckpt_path = False, None
        with written_whole(Path(trainer.default_root_dir, self.config_filename)) as part:
            self.parser.save(config, part, skip_unset=False, overwrite=True, multifile=self.multifile)


def list_split(out: Path, parts: Mapping[str, Sequence[Path]]) -> None:
    """Write the files of each split to split.json."""
    write_text(out / SPLIT, json.dumps({name: [*map(listed, part)] for name, part in parts.items()}, indent=1))


def keep_earlier_run(out: Path, *, logs: Container[Path] = ()) -> None:
    """Move the files of an earlier run into `earlier_run_N`; logs: folders of the new run, which stay.

    Its recipe and split are copied: the new run may be one on that recipe.
    """
    names = (TUNING, INITIAL, *CHECKPOINTS, "config.yaml", DATA)
    earlier = [out / name for name in names if (out / name).is_file()]
    earlier += [path for path in out.glob("logs/version_*") if path.resolve() not in logs]
    if not earlier:
        return
    folder = next(folder for i in count(1) if not (folder := out / f"earlier_run_{i}").exists())
    for path in earlier:
        target = folder / path.relative_to(out)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    for path in (out / name for name in (RECIPE, SPLIT) if (out / name).is_file()):
        shutil.copy(path, folder)
    print(printable(f"{out}: the earlier run there is now in {folder}"))


def drop_empty_run(out: Path) -> None:
    """Remove the folder of a new run that failed before its first checkpoint, log entry or output of a teacher."""
    logs = (path.read_text().strip() for path in out.glob("logs/*/metrics.csv"))
    taught = (map_array(path).any() for path in out.rglob(KNOWN))  # computed for hours, and read by the next run
    if out.is_dir() and not any(out.rglob("*.ckpt")) and not any(logs) and not any(taught):
        shutil.rmtree(out)
