"""Metrics of points and pixels from a confusion matrix: rows are true classes, columns are predictions."""

import csv
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..system.files import write_csv


def class_ious(counts: Tensor) -> Tensor:
    """Intersection over union of each class; NaN for a class neither present nor predicted.

    counts: (truth, prediction).
    """
    counts = counts.double()
    hits = counts.diagonal()
    return (hits / (counts.sum(dim=0) + counts.sum(dim=1) - hits)).float()


def segmentation_measures(counts: Tensor) -> Mapping[str, Tensor]:
    """Mean IoU over classes present or predicted, mean accuracy over classes present, and overall accuracy."""
    hits, truths = counts.double().diagonal(), counts.double().sum(dim=1)
    return {
        "miou": class_ious(counts).nanmean(),
        "mean_accuracy": (hits / truths).nanmean().float(),
        "accuracy": (hits.sum() / truths.sum().clamp(min=1)).float(),
    }


def write_confusion(path: Path, counts: Tensor, classes: list[str]) -> None:
    """Write a CSV with a row for each true class and a column for each predicted one."""
    write_csv(path, [("class", *classes), *((name, *row) for name, row in zip(classes, counts.tolist(), strict=True))])


def read_confusion(path: Path) -> Tensor:
    """Read the counts that `write_confusion` wrote."""
    with path.open(newline="") as file:
        return torch.tensor([[int(value) for value in row[1:]] for row in list(csv.reader(file))[1:]])
