"""A frozen classifier that teaches a student: any timm network, module or file."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checkpoints.hub import HUB
from ..checkpoints.source import is_name, load_network
from ..data.images.class_names import match_classes
from ..data.preprocessing import LARGEST_SIDE, Preprocessing, expect_statistics
from ..deployment.formats import files_of
from ..deployment.runtime import Runtime
from ..errors import InputError, counted, expect_integer, first_line
from ..models.tasks import CLASSIFICATION

SIDE = 64
"""Side in pixels of the blank image that probes a teacher of any size."""


class Teacher(nn.Module):
    """A frozen classifier that receives the student's batches in its own normalization and size.

    Args:
        model: a module, a name of metamixer or timm (pretrained weights are loaded), a "package.module:function" that
            returns a module, or a file: a checkpoint of `fit`, its run folder, or a classifier of `metamixer export`.
        size: side of the teacher's images in pixels; None: that of the file or of a network of fixed size, else the
            student's.
        mean: of the teacher's normalization; None: that of the file or timm model, else ImageNet's.
        std: likewise.
        classes: the teacher's indices of the student's classes, in the student's order; None: the same classes.
        bfloat16: compute in bfloat16, whatever the student's precision.
        stages: indices of the stages whose features are returned too, as timm's `forward_intermediates` takes them.
    """

    def __init__(
        self,
        model: Any,  # str | nn.Module would let the parser put the text of a file in the place of its name
        *,
        size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        classes: Sequence[int] | None = None,
        bfloat16: bool = False,
        stages: Sequence[int] = (),
    ):
        super().__init__()
        if not isinstance(model, str | nn.Module):
            raise InputError(f"teacher {model!r}, expected a name, a file or a module")
        if size is not None:
            expect_integer("teacher.size", size, 1, LARGEST_SIDE)
        self.name = model if isinstance(model, str) else type(model).__name__
        network, info = named_teacher(model) if isinstance(model, str) else (model, {})
        self.model = network.eval().requires_grad_(False)
        own = info.get("preprocessing") or getattr(self.model, "pretrained_cfg", {})
        self.class_names = info.get("classes")
        self.size = size or (info.get("preprocessing") or {}).get("size") or only_size(self.model)
        self.mean = tuple(mean or own.get("mean", Preprocessing.mean))
        self.std = tuple(std or own.get("std", Preprocessing.std))
        expect_statistics(self.mean, self.std, (1, 3))
        self.classes = list(classes) if classes is not None else None
        if self.classes is not None and (not self.classes or min(self.classes) < 0):
            raise InputError(f"teacher.classes {self.classes}, expected at least one index, from 0")
        self.bfloat16 = bfloat16
        self.stages = list(stages)
        if self.stages and not hasattr(self.model, "forward_intermediates"):
            raise InputError(
                f"teacher {self.name}: gives no features (it has no forward_intermediates), expected another teacher, "
                "or to learn logits alone"
            )

    def __deepcopy__(self, memo: dict) -> "Teacher":
        """Itself: a moving average of the student copies the whole task, and a teacher never changes."""
        return self

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor, student: Preprocessing) -> Tensor:
        """images: (B, C, H, W) as normalized by `student` -> logits (B, classes)."""
        with self._precision(images):
            logits = self.model(self._seen(images, student)).float()
        return self._chosen(logits)

    @torch.no_grad()
    def outputs(self, images: Tensor, student: Preprocessing) -> list[Tensor]:
        """images: (B, C, H, W) as normalized by `student` -> logits (B, classes), and each stage's features averaged
        over the image (B, channels).
        """
        if not self.stages:
            return [self(images, student)]
        with self._precision(images):
            last, features = self.model.forward_intermediates(self._seen(images, student), indices=self.stages)
            logits = self.model.forward_head(last).float()
        return [self._chosen(logits), *(pooled(feature).float() for feature in features)]

    def widths(self) -> list[int]:
        """The number of logits and the channels of each stage, from a blank image; raises InputError if the network
        can't process it, or gives something else.
        """
        side = self.size or SIDE
        blank = torch.zeros(1, len(self.mean), side, side, device=next(self.buffers(), torch.empty(0)).device)
        asked = f"logits and the features of stages {self.stages}" if self.stages else "logits"
        try:
            outputs = self.outputs(blank, Preprocessing(mean=self.mean, std=self.std))
        except Exception as error:  # a network of somebody's own
            raise InputError(
                f"teacher {self.name}: fails on an image of {counted(len(self.mean), 'channel')} and {side} px "
                f"({first_line(error)}), expected {asked}"
            ) from None
        if outputs[0].ndim != 2:
            raise InputError(f"teacher {self.name}: gives {list(outputs[0].shape)} for an image, expected [1, classes]")
        return [output.shape[1] for output in outputs]

    def match(self, classes: Sequence[str] | None, channels: int) -> None:
        """Select the outputs of the data's classes by name, unless `classes` already does; raises InputError if one is
        missing, or if the images have another number of channels.
        """
        if channels != len(self.mean):
            raise InputError(
                f"teacher {self.name}: for images of {counted(len(self.mean), 'channel')}, expected {channels}, as the "
                "student's have"
            )
        if self.classes is None and classes is not None:
            width = self.widths()[0]
            try:
                self.classes = match_classes(classes, self.class_names, width)
            except InputError as error:
                raise InputError(f"teacher {self.name}: {error}, or distil --unlabeled") from None

    def chosen_names(self) -> list[str] | None:
        """The names of the classes of its logits; None if it has none."""
        if not self.class_names or self.classes is None:
            return self.class_names or None
        return [self.class_names[index] for index in self.classes]

    def about(self) -> dict[str, Any]:
        """Everything that its output for an image depends on, as plain values."""
        keys = ("size", "mean", "std", "classes", "stages", "bfloat16")
        about = {"teacher": self.name, **{f"teacher.{key}": getattr(self, key) for key in keys}}
        return {**about, "teacher.weights": fingerprint(self.model)}

    def _seen(self, images: Tensor, student: Preprocessing) -> Tensor:
        """The student's images in the teacher's normalization and size."""
        x = images * images.new_tensor(student.std).view(1, -1, 1, 1) + images.new_tensor(student.mean).view(
            1, -1, 1, 1
        )
        if self.size and x.shape[-1] != self.size:
            x = F.interpolate(x, (self.size, self.size), mode="bicubic", antialias=True, align_corners=False)
        x = (x - x.new_tensor(self.mean).view(1, -1, 1, 1)) / x.new_tensor(self.std).view(1, -1, 1, 1)
        return x.contiguous(memory_format=torch.channels_last)

    def _precision(self, images: Tensor) -> AbstractContextManager:
        return torch.autocast(images.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()

    def _chosen(self, logits: Tensor) -> Tensor:
        if self.classes is None:
            return logits
        if max(self.classes) >= logits.shape[1]:
            raise InputError(
                f"teacher {self.name}: {counted(logits.shape[1], 'class', 'classes')}, expected more: teacher.classes "
                f"has {max(self.classes)}"
            )
        return logits[:, self.classes]


def only_size(network: nn.Module) -> int | None:
    """The side of the images of a timm network that takes no other."""
    about = getattr(network, "pretrained_cfg", {})
    return about["input_size"][-1] if about.get("fixed_input_size") else None


def pooled(features: Tensor) -> Tensor:
    """(B, C, H, W) -> the average over the image (B, C)."""
    return features.mean(dim=(2, 3))


class Exported(nn.Module):
    """An exported file as a module, for batches of any size on any device; it computes on the CPU."""

    def __init__(self, runtime: Runtime, path: str | Path):
        super().__init__()
        self.runtime = runtime
        self.path = path

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, C, H, W) -> logits (B, classes)."""
        return self.runtime.any_batch(images.float().cpu()).to(images.device)


def fingerprint(network: nn.Module) -> str:
    """A digest of a network's weights, by which other weights of the same name are recognized."""
    digest = hashlib.sha256()
    for part in weights_of(network):
        digest.update(part)
    return digest.hexdigest()[:16]


def weights_of(network: nn.Module) -> Iterable[Any]:
    """The bytes of a network's weights: its tensors', or its file's."""
    if isinstance(network, Exported):
        return (path.read_bytes() for path in files_of(network.path))
    tensors = (tensor.detach().cpu().contiguous().reshape(-1) for tensor in network.state_dict().values())
    return (tensor.view(torch.uint8).numpy() for tensor in tensors)


def named_teacher(name: str) -> tuple[nn.Module, Mapping[str, Any]]:
    """What `build_teacher` gives; its InputErrors name the teacher. The student's initialization stays what it is."""
    try:
        with torch.random.fork_rng(devices=[]):
            return build_teacher(name)
    except InputError as error:
        if str(error).startswith(("teacher ", f"{name}: ")):
            raise
        raise InputError(f"teacher {name!r}: {error}") from None


def build_teacher(name: str) -> tuple[nn.Module, Mapping[str, Any]]:
    """A module and what is known about it (`network_info`), from "package.module:function" or whatever `load_network`
    takes for a classifier.
    """
    if ":" in name and not name.startswith(HUB) and not os.path.exists(name):
        return called(name), {}
    network, info = load_network(name, task=CLASSIFICATION.name)
    if not isinstance(network, nn.Module):
        return Exported(network, name), info
    if is_name(name) and not getattr(network, "pretrained_cfg", {}).get("fixed_input_size"):
        info = {**info, "preprocessing": {**(info["preprocessing"] or {}), "size": None}}
    return network, info


def called(name: str) -> nn.Module:
    """The module that a "package.module:function" returns."""
    module, function = name.split(":", 1)
    try:
        network = getattr(import_module(module), function)()
    except Exception as error:  # code of somebody's own
        where = "; a file in this folder needs PYTHONPATH=." if isinstance(error, ModuleNotFoundError) else ""
        raise InputError(
            f"teacher {name!r}: {first_line(error)}, expected a function that returns a module{where}"
        ) from None
    if not isinstance(network, nn.Module):
        raise InputError(f"teacher {name!r}: returns {type(network).__name__}, expected a PyTorch module")
    return network
