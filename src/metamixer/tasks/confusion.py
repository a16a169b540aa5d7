"""Measures of points and pixels from one matrix of counts: rows are the true classes, columns those that were said."""

import csv
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..system.files import write_csv


def class_ious(counts: Tensor) -> Tensor:
    """Intersection over union of each class; NaN for one that neither is there nor was found. counts: (truth,
    prediction).
    """
    counts = counts.double()
    hits = counts.diagonal()
    return (hits / (counts.sum(dim=0) + counts.sum(dim=1) - hits)).float()


def segmentation_measures(counts: Tensor) -> Mapping[str, Tensor]:
    """Mean IoU over the classes that are there or were found, mean accuracy over those that are there, accuracy of all
    points.
    """
    hits, truths = counts.double().diagonal(), counts.double().sum(dim=1)
    return {
        "miou": class_ious(counts).nanmean(),
        "mean_accuracy": (hits / truths).nanmean().float(),
        "accuracy": (hits.sum() / truths.sum().clamp(min=1)).float(),
    }


def write_confusion(path: Path, counts: Tensor, classes: list[str]) -> None:
    """CSV: a row for each true class, a column for each that was said."""
    write_csv(path, [("class", *classes), *((name, *row) for name, row in zip(classes, counts.tolist(), strict=True))])


def read_confusion(path: Path) -> Tensor:
    """The counts that `write_confusion` wrote."""
    with path.open(newline="") as file:
        return torch.tensor([[int(value) for value in row[1:]] for row in list(csv.reader(file))[1:]])
