"""The base class of all tasks: a network, its optimizer, its checkpoints, validation and test."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..checkpoints.ours import keep_paths_within, load_initial, network_info, without_code
from ..data.loading import seed_generators, seed_of
from ..errors import DivergenceError, InputError
from ..models import create_model
from ..models.tasks import TaskSpec
from ..ops import accelerate, kernels
from ..ops.small_maps import use_matrices
from .optimization.parameter_groups import Groups, regroup

NOTHING: Mapping[str, Any] = MappingProxyType({})
NUMBERED = {"classes": "class", "category_ids": "category id"}
"""Per-class lists that checkpoints and data have in common: the key, and its name in messages."""

Compile = bool | Literal["reduce-overhead"]
"""Whether to compile a network, or a mode of torch.compile: `reduce-overhead` also captures CUDA graphs."""

FULL_PRECISION = ("32-true", "64-true")
"""Lightning's precisions without a half type."""

ADVICE = "expected a finite number; stopped, {}; try a lower learning rate"


class Recipe(Protocol):
    """An optimizer and its schedule, described as data."""

    def optimizer(self, network: nn.Module) -> Optimizer: ...

    def groups(self, network: nn.Module) -> Groups:
        """Parameter groups of the optimizer, with named parameters."""
        ...

    def groups_before(self, network: nn.Module) -> list[list[str]]:
        """The parameter names of each group in version 0.1.0, whose checkpoints don't store them."""
        ...

    def scheduler(self, optimizer: Optimizer, *, steps: int, steps_per_epoch: float) -> LRScheduler:
        """steps: of the whole training; the schedule advances with every step."""
        ...


class Task(L.LightningModule, ABC):
    """A network that is trained and evaluated.

    A subclass defines the loss (`training_step`), the metrics (`measure`, and `log_measures` if they are known only at
    the end of a split), and what prediction needs besides the network (`data_info`).

    Args:
        model, model_args: name and keywords for `metamixer.create_model`; saved in checkpoints.
        start: keywords for the initial weights; not saved, because a checkpoint has its own weights.
        initial: a checkpoint to start from; `new_classifier`: without its class layers.
    """

    spec: ClassVar[TaskSpec]
    """The task's row in the table of `models.tasks`."""

    layout: torch.memory_format = torch.preserve_format
    """Layout of the network's weights and inputs in memory; image tasks change it to suit the device."""

    def __init__(
        self,
        model: str,
        model_args: Mapping[str, Any],
        optimization: Recipe,
        *,
        start: Mapping[str, Any] = NOTHING,
        initial: str | None = None,
        new_classifier: bool = False,
        compile: Compile = False,
    ):
        super().__init__()
        self.model_name = model
        self.model_args = without_code("model_args", model_args)
        self.optimization = optimization
        self.network = use_matrices(create_model(model, **{**self.model_args, **start}))
        self.network.to(memory_format=self.layout)
        self.loaded_info = load_initial(self.network, initial, new_classifier=new_classifier) if initial else {}
        if compile:
            self.network.compile(mode=None if compile is True else compile)

    def configure_model(self) -> None:
        """Arrange an image network as is fastest on the device; Lightning calls this before the optimizer exists."""
        if self.layout != torch.preserve_format:
            self.layout = fastest_layout(self.trainer.strategy.root_device, self.trainer.precision)
            self.network.to(memory_format=self.layout)
        if kernels.used_by_fit():
            accelerate(self.network)

    @abstractmethod
    def measure(self, split: str, batch: Any) -> None:
        """Update the metrics with a batch of "val" or "test"."""

    def log_measures(self, split: str) -> None:
        """Log the metrics known only at the end of a split; not needed if `measure` logs torchmetrics' objects."""

    def data_info(self) -> dict[str, Any]:
        """Class names, preprocessing and whatever else of the data a checkpoint stores."""
        data = self.trainer.datamodule
        preprocessing = getattr(data, "preprocessing", None)
        return {
            "classes": getattr(data, "classes", None),
            "preprocessing": preprocessing.as_dict() if preprocessing else None,
        }

    def expect_classes(self, number: int) -> None:
        """Raise InputError if the data has another number of classes."""
        classes = getattr(self.trainer.datamodule, "classes", None)
        if classes is not None and len(classes) != number:
            raise InputError(f"model.num_classes {number}, expected {len(classes)}, the data's number of classes")

    def match_data(self) -> None:
        """Called before evaluation; raises InputError unless the classes of the data are those of the weights."""
        self.expect_known_classes()

    def expect_known_classes(self) -> None:
        """Raise InputError if the weights were trained on other classes, or in another order."""
        for key, what in NUMBERED.items():
            known, found = self.loaded_info.get(key), getattr(self.trainer.datamodule, key, None)
            if not known or not found:
                continue
            for number, (theirs, ours) in enumerate(zip_longest(known, found)):
                if theirs != ours:
                    raise InputError(
                        f"{what} {number} of the data is {ours!r}, expected {theirs!r}, the class that "
                        "the checkpoint was trained on"
                    )

    def log_loss(self, loss: Tensor, *, batch_size: int, parts: Mapping[str, Tensor] = NOTHING) -> Tensor:
        """Log a training loss and the losses that it is the sum of; raises DivergenceError unless it is finite."""
        if not loss.isfinite():
            values = ", ".join(f"{name} {value.item():.3g}" for name, value in parts.items())
            place = "; ".join(filter(None, [f"epoch {self.current_epoch}", values]))
            raise DivergenceError(
                f"training loss is {loss.item()} at step {self.global_step} ({place}), {self.advice()}"
            )
        about = {"on_step": False, "on_epoch": True, "batch_size": batch_size, "sync_dist": True}
        self.log("train/loss", loss, prog_bar=True, **about)
        self.log_dict({f"train/{name}": value for name, value in parts.items()}, **about)
        return loss

    def log_ious(self, split: str, ious: Mapping[str, Tensor]) -> None:
        """Log the intersection over union of each class as `val/iou/NAME`; NaN (absent classes) isn't logged."""
        known = {name: iou for name, iou in ious.items() if not iou.isnan()}
        self.log_dict({f"{split}/iou/{name}": iou for name, iou in known.items()})
        monitored = {getattr(callback, "monitor", None) for callback in self.trainer.callbacks}
        before = {f"{split}/iou_{name}": iou for name, iou in known.items()}  # the name in recipes of 0.1.0
        self.log_dict({name: iou for name, iou in before.items() if name in monitored})

    def advice(self) -> str:
        """What to do about a divergence, and what of the run there is."""
        last = Path(self.trainer.default_root_dir, "last.ckpt")
        kept = "the last checkpoint is from before it" if last.is_file() else "no checkpoint had been written yet"
        return ADVICE.format(kept)

    def expect_finite_weights(self) -> None:
        """Raise DivergenceError that names a parameter with values that aren't finite.

        The last step of an epoch can spoil weights before any loss shows it.
        """
        for name, parameter in self.network.named_parameters():
            if not parameter.isfinite().all():
                place = f"step {self.global_step} (epoch {self.current_epoch})"
                raise DivergenceError(f"a value in {name} isn't finite at {place}, {self.advice()}")

    def on_train_start(self) -> None:
        if self.trainer.ckpt_path:
            self.expect_known_classes()
        self.loaded_info = self.data_info()  # the weights are trained on this data from now on

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the step's random numbers (mixup, dropout, stochastic depth), so that a resumed run draws the same."""
        loading = getattr(self.trainer.datamodule, "loading", None)
        if loading is not None:
            seed_generators(seed_of(loading.seed, self.current_epoch, batch_idx, self.global_rank))

    def on_validation_start(self) -> None:
        if self.trainer.state.fn != TrainerFn.FITTING:
            self.match_data()

    def on_validation_epoch_start(self) -> None:
        """Give all processes the norm statistics of the first, which checkpoints keep."""
        if self.trainer.world_size > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def on_test_start(self) -> None:
        self.match_data()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.measure("val", batch)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.measure("test", batch)

    def on_validation_epoch_end(self) -> None:
        self.log_measures("val")

    def on_test_epoch_end(self) -> None:
        self.log_measures("test")

    def extra_groups(self) -> Groups:
        """The optimizer's groups of what learns beside the network, and isn't kept; none."""
        return []

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = self.optimization.optimizer(self.network)
        for group in self.extra_groups():
            optimizer.add_param_group(group)
        steps = self.trainer.estimated_stepping_batches
        if not math.isfinite(steps):
            raise InputError(
                f"trainer.max_epochs {self.trainer.max_epochs}, expected a number of epochs or steps, which "
                "the schedule needs"
            )
        batches = self.trainer.num_training_batches  # infinite for data of unknown length
        steps_per_epoch = math.ceil(batches / self.trainer.accumulate_grad_batches) if math.isfinite(batches) else steps
        scheduler = self.optimization.scheduler(optimizer, steps=int(steps), steps_per_epoch=steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        keep_paths_within(checkpoint, self.trainer.default_root_dir)
        self.loaded_info = checkpoint.get("metamixer", {})
        if self.trainer.state.fn == TrainerFn.FITTING and checkpoint.get("optimizer_states"):
            groups = checkpoint["optimizer_states"][0]["param_groups"]
            named = all("param_names" in group for group in groups)
            before = (
                [group["param_names"] for group in groups] if named else self.optimization.groups_before(self.network)
            )
            regroup(checkpoint, before, [*self.optimization.groups(self.network), *self.extra_groups()])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.expect_finite_weights()
        checkpoint["metamixer"] = network_info(self.model_name, self.model_args, task=self.spec.name) | self.data_info()


def fastest_layout(device: torch.device, precision: str) -> torch.memory_format:
    """Channels-last, except in float32 on a GPU.

    There `fit` with channels-last took 0.139 s a step and plain PyTorch 0.115 s (measured on an H200,
    `benchmarks/training_step.py`); the layout alone was not compared.
    """
    slow = device.type == "cuda" and precision in FULL_PRECISION
    return torch.contiguous_format if slow else torch.channels_last


def backbone_start(model_args: Mapping[str, Any], *, pretrained: bool) -> dict[str, Any]:
    """The `start` keywords that load the backbone's own weights, if `pretrained`."""
    return {"backbone_args": {**(model_args.get("backbone_args") or {}), "pretrained": True}} if pretrained else {}
