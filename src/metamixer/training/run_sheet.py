"""Plots of a training run: predictions, training curve, kernels."""

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning import LightningDataModule
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from ..checkpoints.ours import expect_task, load_checkpoint
from ..data import import_all
from ..data.preprocessing import Preprocessing
from ..drawing.figures import check_figure_name, new_figure, save_figure
from ..errors import InputError, InputWarning
from ..models.tasks import CLASSIFICATION
from ..ops.fusion import fuse
from ..system.yaml_files import read_yaml

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURES = 24
KERNELS = 24


def draw_sheet(checkpoint: Path, out: Path, *, block: str = "stages.2.blocks.0") -> None:
    """Draw a training run: predictions on test images, training curve, depthwise kernels of a block's token mixer.

    Warns of a mixer without such kernels, and leaves out their part.
    """
    check_figure_name(out)
    network, info = load_checkpoint(checkpoint)
    expect_task(info, CLASSIFICATION.name, checkpoint)
    data = load_data(checkpoint.with_name("config.yaml"))
    images, labels = spread(data.evaluation_dataset("test"), PICTURES)
    probabilities = predict_probabilities(network, images)
    kernels = mixer_kernels(network, block)

    heights = (4.2, 3.4, 3.6)[: 3 if kernels else 2]
    figure = new_figure(figsize=(12, 1.25 * sum(heights)), layout="constrained")
    top, middle, *bottom = figure.subfigures(len(heights), 1, height_ratios=heights)
    names = info["classes"] or [str(index) for index in range(probabilities.shape[1])]
    preprocessing = Preprocessing.from_dict(info["preprocessing"])
    draw_predictions(top, denormalise(images, preprocessing), labels, probabilities, names)
    draw_curve(middle, read_metrics(checkpoint.parent))
    if kernels:
        draw_kernels(bottom[0], kernels, title=f"{info['model']}: kernels of {block}, fused")
    else:
        message = f"block {block!r} has no depthwise convolutions, which are drawn as kernels: left out"
        warnings.warn(message, InputWarning, stacklevel=2)
    save_figure(figure, out)


def load_data(config: Path) -> LightningDataModule:
    """Build the data module of a run from its config.yaml."""
    from jsonargparse import ArgumentError, ArgumentParser

    import_all()
    if not config.is_file():
        raise InputError(f"{config}: no such file, expected the config.yaml of the training run next to the checkpoint")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    try:
        return parser.instantiate_classes(
            parser.parse_object({"data": _own_classes(read_yaml(config), config)["data"]})
        ).data
    except InputError as error:
        raise error if str(config) in str(error) else InputError(f"{config}: {error}") from None
    except (ArgumentError, KeyError, TypeError, ValueError) as error:
        if isinstance(error.__cause__, InputError):
            raise InputError(f"{config}: {error.__cause__}") from None
        raise InputError(
            f"{config}: not a run's configuration ({' '.join(str(error).split())}), expected `data` as in a recipe"
        ) from None


def spread(dataset: Dataset, count: int) -> tuple[Tensor, list[int]]:
    """Evenly spaced items of a data set, which may be iterable only: images (N, C, H, W) and labels."""
    count = min(count, len(dataset))
    chosen = [i * len(dataset) // count for i in range(count)]
    if isinstance(dataset, IterableDataset):
        items = [item for i, item in enumerate(dataset) if i in chosen]
    else:
        items = [dataset[i] for i in chosen]
    return torch.stack([image for image, _ in items]), [int(label) for _, label in items]


@torch.inference_mode()
def predict_probabilities(network: nn.Module, images: Tensor) -> Tensor:
    """images: (N, C, H, W) -> (N, classes)."""
    return network(images).softmax(dim=1)


def mixer_kernels(network: nn.Module, block: str) -> dict[str, Tensor]:
    """Kernels (C, k, k) of the depthwise convolutions of a block's token mixer by their names, fused."""
    try:
        mixer = fuse(network).get_submodule(block).token_mixer.mixer
    except AttributeError:
        raise InputError(f"block {block!r}: no such block, expected one such as stages.2.blocks.0") from None
    layers = {name: layer for name, layer in mixer.named_modules() if isinstance(layer, nn.Conv2d)}
    return {
        name: layer.weight[:, 0].detach()
        for name, layer in layers.items()
        if layer.groups == layer.in_channels > 1 and max(layer.kernel_size) > 1
    }


def read_metrics(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Each metric of a run by epoch, across resumptions; raises InputError that names a log which isn't one."""
    measures: dict[str, dict[int, float]] = {}
    logs = [path for path in run.glob("logs/version_*/metrics.csv") if path.parent.name[8:].isdecimal()]
    for path in sorted(logs, key=lambda path: int(path.parent.name[8:])):
        try:
            with path.open(encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    for name, value in row.items():
                        if value and name not in ("epoch", "step"):
                            measures.setdefault(name, {})[int(row["epoch"])] = float(value)
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            raise InputError(f"{path}: not a readable log of metrics ({type(error).__name__}: {error})") from None
    return {name: sorted(values.items()) for name, values in measures.items()}


def denormalise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Normalized images (N, C, H, W) -> (N, H, W, C) in [0, 1]."""
    mean, std = (images.new_tensor(values).view(1, -1, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    return (images * std + mean).clamp(0, 1).permute(0, 2, 3, 1)


def draw_predictions(
    figure: "Figure", images: Tensor, labels: list[int], probabilities: Tensor, names: Sequence[str]
) -> None:
    """Each image with its prediction and confidence; wrong ones in red with the true class."""
    figure.suptitle("Predictions on images that were held out")
    for axes, image, label, row in zip(_grid(figure, 3, 8), images, labels, probabilities, strict=False):
        share, answer = row.max(dim=0)
        right = int(answer) == label
        axes.imshow(image.numpy(), cmap="gray", interpolation="nearest")
        text = f"{names[int(answer)]}  {share:.0%}" + ("" if right else f"\n(is {names[label]})")
        axes.set_title(text, fontsize=9, color="black" if right else "crimson")


def draw_curve(figure: "Figure", measures: dict[str, list[tuple[int, float]]]) -> None:
    """Loss and accuracy by epoch."""
    figure.suptitle("Training")
    left, right = figure.subplots(1, 2)
    for axes, names, label in (
        (left, ("train/loss", "val/loss"), "loss"),
        (right, ("val/top1", "val/top5"), "accuracy"),
    ):
        for name in names:
            if name in measures:
                epochs, values = zip(*measures[name], strict=True)
                axes.plot(epochs, values, label=name, marker="." if len(epochs) < 40 else "")
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)


def draw_kernels(figure: "Figure", kernels: dict[str, Tensor], *, title: str) -> None:
    """The kernels with the largest norm, each on its own scale; red: positive, blue: negative."""
    figure.suptitle(title)
    parts = figure.subfigures(1, len(kernels))
    for part, (name, weight) in zip(parts, kernels.items(), strict=True):
        part.supxlabel(f"{name} ({weight.shape[1]}x{weight.shape[2]})", fontsize=10)
        strongest = weight.flatten(1).norm(dim=1).argsort(descending=True)[:KERNELS]
        for axes, kernel in zip(_grid(part, 4, 6), weight[strongest], strict=False):
            limit = float(kernel.abs().max())
            axes.imshow(kernel.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)


def _grid(figure: "Figure", rows: int, columns: int) -> "list[Axes]":
    axes = list(figure.subplots(rows, columns).flat)
    for one in axes:
        one.axis("off")
    return axes


def _own_classes(content: Any, config: Path) -> Any:
    """The configuration; raises InputError for a class from outside this package, since a class is code."""
    if isinstance(content, dict):
        path = str(content.get("class_path", ""))
        if "." in path and not path.startswith("metamixer."):
            raise InputError(f"{config}: class_path {path!r}, expected one of metamixer's: draw runs no other code")
    for part in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        _own_classes(part, config)
    return content
