"""Labeled point clouds."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ...data.held_out import at_least_two, split
from ...data.points.clouds import find_clouds, read_cloud
from ...data.points.description import read_labels
from ...errors import InputError
from ...models.tasks import POINTS
from ...system.files import write_text
from .understood import OwnData, named, write_split

SUFFIXES = (".ply", ".las", ".laz", ".npz")


def has_clouds(folder: Path) -> bool:
    """Whether a folder contains point clouds, at any depth."""
    return any(file.suffix.lower() in SUFFIXES or file.name == "coord.npy" for file in folder.rglob("*"))


def named_labels(file: Path, labels: set[int]) -> tuple[dict[int, str], list[int]]:
    """The names of the labels and the ignored ones, as a YAML file in the folder says, else the numbers as names."""
    if not file.exists():
        return {label: str(label) for label in sorted(labels)}, []
    names, ignored = read_labels(file)
    unknown = sorted(labels - {*names, *ignored})
    if unknown:
        raise InputError(f"{file}: no name of label {unknown[0]}, expected one for each label in the clouds")
    return names, [label for label in ignored if label >= 0]


def prepare_clouds(
    out: Path, *, parts: Mapping[str, Sequence[Path]], about: Mapping[str, Any], features: Sequence[str]
) -> dict:
    """Write the clouds.yaml of a split, with what is known `about` its labels, and return the data's options."""
    paths = {kind: [str(path.resolve()) for path in part] for kind, part in parts.items()}
    root = write_split(out, parts)
    write_text(root / "clouds.yaml", yaml.safe_dump({**about, **paths}))
    return {
        "description": str(root / "clouds.yaml"),
        "preprocessing": {"grid_size": 0.1, "features": list(features)},
        "augmentation": {"mix": 0.0, "crop": 20000},
        "batch_size": min(2, len(parts["train"])),
    }


def understand_clouds(folder: Path, seed: int) -> OwnData:
    paths = find_clouds([str(folder)])
    at_least_two(len(paths), f"{folder}: clouds")
    labels: set[int] = set()
    coloured, points = True, []
    for path in paths:
        cloud = read_cloud(path)
        if cloud.labels is None:
            raise InputError(
                f"{path}: has no labels, expected one per point in a field label, segment or classification"
            )
        labels |= set(np.unique(cloud.labels[cloud.labels >= 0]).tolist())
        coloured &= cloud.colours is not None
        points.append(len(cloud))
    names, ignored = named_labels(folder / "clouds.yaml", labels)
    if len(names) < 2:
        raise InputError(f"{folder}: one class in all clouds ({named([*names.values()])}), expected at least two")
    features = ["position", "colour"] if coloured else ["position"]
    train, val = split(paths, seed)

    about = {"classes": names, "ignored": ignored}
    prepare = partial(prepare_clouds, parts={"train": train, "val": val}, about=about, features=features)
    return OwnData(
        task=POINTS,
        understood=f"{len(paths)} clouds with {sum(points):,} points of {len(names)} classes, {len(val)} held out for "
        "validation; trains a point segmenter",
        items=len(train),
        val_items=len(val),
        network="ffnet_3d_nano",
        model_class="PointSegmentation",
        model={
            "num_classes": len(names),
            "model_args": {"in_chans": 3 * len(features)},
            "optimization": {"lr": 4e-3, "block_lr": 4e-3, "weight_decay": 0.02, "warmup": 0.1},
        },
        data_class="CloudData",
        prepare=prepare,
        trainer={"gradient_clip_val": 10.0},
    )
