"""Metrics from a confusion matrix: rows are true classes, columns are predictions."""

import csv
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import InputError, first_line
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
    """Read the counts that `write_confusion` wrote; raises InputError that names the file where they are others."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            counts = torch.tensor([[int(value) for value in row[1:]] for row in list(csv.reader(file))[1:]])
    except (OSError, ValueError, RuntimeError, OverflowError, csv.Error) as error:
        raise InputError(f"{path}: not a readable confusion matrix ({first_line(error)})") from None
    if counts.ndim != 2 or len(counts) != counts.shape[1]:
        raise InputError(f"{path}: counts of shape {list(counts.shape)}, expected a row and a column for each class")
    return counts
