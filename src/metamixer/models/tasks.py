"""The table of tasks: everything that differs by task outside networks, data and training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..ops.sparse import SparseVoxels
from ..zoo import networks as zoo

Info = Mapping[str, Any]
"""The description of a network besides its weights (`checkpoints.ours.network_info`)."""


@dataclass(frozen=True, eq=False)
class TaskSpec:
    """A row of the table.

    name: in checkpoints, `list_models` and messages.
    predictor: module and class in `metamixer.predictors`.
    command: the command that predicts.
    example: (network, info, size in pixels or None) -> a seeded input of the network, a batch of one.
    monitor, mode: the metric that selects the best checkpoint, and whether it is maximized or minimized.
    metric, unit: its name and unit in messages; for %, the metric itself is a fraction.
    exportable: the network has one input and one output tensor, as every export format requires.
    images: the input tensor is a batch of images (B, C, H, W).
    inputs: the name of its inputs in messages.
    faster_in_bfloat16: it trains faster with autocast to bfloat16 where the processor has instructions for it.
    outputs: (network, input) -> one tensor, smooth in the weights, for comparing two forms of a network.
    """

    name: str
    predictor: str
    command: str
    example: Callable[[nn.Module, Info, int | None], Any]
    monitor: str
    metric: str
    unit: str = "%"
    mode: Literal["max", "min"] = "max"
    exportable: bool = True
    images: bool = True
    inputs: str = "images"
    faster_in_bfloat16: bool = False
    outputs: Callable[[nn.Module, Any], Tensor] = field(default=lambda network, x: network(x))

    def in_units(self, value: float) -> str:
        """A value of the monitored metric with its unit, such as 87.5 %."""
        if self.unit == "%":
            return f"{100 * value:.1f} %"
        return " ".join(filter(None, [f"{value:.4g}", self.unit]))

    def mode_of(self, metric: str) -> Literal["max", "min"]:
        """Whether a metric is maximized or minimized: the task's as in its row, losses and errors minimized."""
        if metric == self.monitor:
            return self.mode
        return "min" if metric.partition("/")[2] in ("loss", "mse", "mae") else "max"


def example_image(default: int | None) -> Callable[[nn.Module, Info, int | None], Tensor]:
    """An image (1, C, side, side) in [0, 1]; side: as requested, the preprocessing's, or the default."""

    def example(network: nn.Module, info: Info, size: int | None) -> Tensor:
        preprocessing = info.get("preprocessing") or {}
        side = size or preprocessing.get("size") or default
        if side is None:
            raise unknown_input(info)
        channels = len(preprocessing["mean"]) if "mean" in preprocessing else 3
        return uniform(1, channels, side, side)

    return example


def example_images(network: nn.Module, info: Info, size: int | None) -> list[Tensor]:
    """A list of one image (3, side, side) in [0, 1]."""
    return [uniform(3, size or 256, size or 256)]


def example_photograph(network: nn.Module, info: Info, size: int | None) -> Tensor:
    """An image (1, C, side, side) in [0, 1] of the network's channels."""
    return uniform(1, network.in_chans, size or 64, size or 64)


def example_window(network: nn.Module, info: Info, size: int | None) -> Tensor:
    """A window (1, lookback, variables) in [0, 1]."""
    if size:
        raise InputError(
            f"size {size} for {info['model']}, expected none: the checkpoint fixes the size of a forecaster's windows"
        )
    return uniform(1, network.lookback, network.variables)


def example_series(network: nn.Module, info: Info, size: int | None) -> Tensor:
    """A random walk (1, context)."""
    if size:
        raise InputError(f"size {size} for {info['model']}, expected none: a series is not an image")
    return (uniform(1, network.context) - 0.5).cumsum(1)


def example_voxels(network: nn.Module, info: Info, size: int | None) -> SparseVoxels:
    """A block of 16 x 16 x 16 cells, 30 % of them occupied."""
    cells = (uniform(16, 16, 16) < 0.3).nonzero()
    return SparseVoxels.of(uniform(len(cells), network.in_chans), cells)


def uniform(*shape: int) -> Tensor:
    """Seeded values in [0, 1]."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def unknown_input(info: Info) -> InputError:
    """The error for a network whose input size is unknown."""
    name = info.get("model", "the network")
    return InputError(f"{name}: unknown input size, expected --size PIXELS or --shape, such as --shape 1 3 64 64")


def detector_outputs(network: nn.Module, images: list[Tensor]) -> Tensor:
    """The pyramid, and the outputs of all heads for a few regions, because non-maximum suppression isn't continuous."""
    levels = network.forward_features(torch.stack(images))
    regions = levels[0][:, :, :7, :7]
    boxes = (part for head in network.cascade.box_heads for part in head(regions))
    masks = (head(regions) for head in network.cascade.mask_heads)
    return torch.cat([part.flatten() for part in (*levels, *boxes, *masks)])


CLASSIFICATION = TaskSpec(
    zoo.CLASSIFICATION,
    predictor="classifier.Classifier",
    command="predict",
    example=example_image(None),
    monitor="val/top1",
    metric="top-1 accuracy",
    faster_in_bfloat16=True,
)
DETECTION = TaskSpec(
    zoo.DETECTION,
    predictor="detector.Detector",
    command="detect",
    example=example_images,
    monitor="val/box_ap",
    metric="box AP",
    exportable=False,
    images=False,
    faster_in_bfloat16=True,
    outputs=detector_outputs,
)
SEGMENTATION = TaskSpec(
    zoo.SEGMENTATION,
    predictor="segmenter.Segmenter",
    command="segment",
    example=example_image(256),
    monitor="val/miou",
    metric="mIoU",
    faster_in_bfloat16=True,
)
SUPER_RESOLUTION = TaskSpec(
    zoo.SUPER_RESOLUTION,
    predictor="upscaler.Upscaler",
    command="upscale",
    example=example_image(64),
    monitor="val/psnr",
    metric="PSNR",
    unit="dB",
    faster_in_bfloat16=True,
)
RESTORATION = TaskSpec(
    zoo.RESTORATION,
    predictor="restorer.Restorer",
    command="restore",
    example=example_photograph,
    monitor="val/psnr",
    metric="PSNR",
    unit="dB",
)
FORECASTING = TaskSpec(
    zoo.FORECASTING,
    predictor="forecasting.forecaster.Forecaster",
    command="forecast",
    example=example_window,
    monitor="val/mse",
    metric="MSE",
    unit="",
    mode="min",
    images=False,
    inputs="windows of series",
)
ZERO_SHOT = TaskSpec(
    zoo.ZERO_SHOT,
    predictor="forecasting.forecaster.Forecaster",
    command="forecast",
    example=example_series,
    monitor="val/quantile_loss",
    metric="quantile loss",
    unit="",
    mode="min",
    images=False,
    inputs="series",
)
POINTS = TaskSpec(
    zoo.POINTS,
    predictor="point_segmenter.PointSegmenter",
    command="points",
    example=example_voxels,
    monitor="val/miou",
    metric="mIoU",
    exportable=False,
    images=False,
    inputs="voxels",
)
TASKS: dict[str, TaskSpec] = {
    task.name: task
    for task in (
        CLASSIFICATION,
        DETECTION,
        SEGMENTATION,
        SUPER_RESOLUTION,
        RESTORATION,
        FORECASTING,
        ZERO_SHOT,
        POINTS,
    )
}


def task_row(task: str | None, source: object) -> TaskSpec:
    """The row of the task that a file states; raises InputError that names the file if there is none."""
    if task not in TASKS:
        raise InputError(f"{source}: task {task!r}, expected one of {', '.join(TASKS)}")
    return TASKS[task]


def same_predictor(task: str, other: str) -> bool:
    """Whether both tasks have the same predictor."""
    return task == other or (task in TASKS and other in TASKS and TASKS[task].predictor == TASKS[other].predictor)
