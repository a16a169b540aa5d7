"""Labeled point clouds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ...data.held_out import at_least_two, split
from ...data.images.splits import SPLITS
from ...data.points.clouds import SCANS, find_clouds, read_cloud
from ...data.points.description import CloudDescription, read_description
from ...data.points.voxelization import DARK, FEATURES, PointPreprocessing
from ...errors import InputError, counted
from ...models.tasks import POINTS
from ...system.files import write_text
from .understood import LEFT_OUT, OwnData, named, write_split

SUFFIXES = (".ply", ".las", ".laz", ".npz")

FOLDERS = {"train": SPLITS[0], "val": SPLITS[1], "test": ("test", "testing")}
"""Names of the folders of each split."""

OWN_FEATURES = ("position", "colour", "normal", "intensity")
"""What a network sees of clouds that have it."""


def has_clouds(folder: Path) -> bool:
    """Whether a folder contains point clouds, at any depth."""
    return any(is_cloud(file) for file in folder.rglob("*"))


def is_cloud(file: Path) -> bool:
    """Whether a file, by its name, is of a point cloud; many other files are .npy or .bin, too."""
    scan = file.suffix == ".bin" and file.parent.name == SCANS
    return scan or file.suffix.lower() in SUFFIXES or file.name == "coord.npy"


def described(folder: Path) -> CloudDescription | None:
    """What clouds.yaml in the folder says of labels and splits, if there is one."""
    file = folder / "clouds.yaml"
    return read_description(file, needed=("classes",)) if file.exists() else None


def given_splits(folder: Path, description: CloudDescription | None) -> tuple[dict[str, list[Path]], str]:
    """The clouds of the splits that clouds.yaml lists, else of folders such as train and val, and which of both."""
    listed, source = dict(description.splits) if description else {}, "clouds.yaml"
    if not listed:
        there = {
            name: next((each for each in names if (folder / each).is_dir()), "") for name, names in FOLDERS.items()
        }
        listed = {name: [each] for name, each in there.items() if each}
        source = f"folders {', '.join(filter(None, there.values()))}"
    splits = {name: find_clouds([str(folder / file) for file in files]) for name, files in listed.items()}
    place: dict[Path, str] = {}
    for name, paths in splits.items():
        for path in paths:
            if (other := place.setdefault(path.resolve(), name)) != name:
                raise InputError(f"{path}: in {other} and {name} by {source}, expected it in one of them")
    return splits, source


@dataclass(frozen=True)
class Division:
    """The clouds of each split.

    left_out: the folder's clouds that are neither in train nor in val; given: by the user; how: in words.
    """

    train: list[Path]
    val: list[Path]
    test: list[Path]
    left_out: list[Path]
    given: bool
    how: str

    @property
    def used(self) -> list[Path]:
        """Those of train and val."""
        return sorted([*self.train, *self.val])


def divide(folder: Path, description: CloudDescription | None, seed: int) -> Division:
    """The user's splits; without `train`, it is all other clouds; without `val`, it is a random fifth of `train`."""
    splits, source = given_splits(folder, description)
    test, val = splits.get("test", []), splits.get("val", [])
    clouds = find_clouds([str(folder)])
    train = splits.get("train") or without(clouds, [*test, *val])
    if not train:
        raise InputError(f"{folder}: no clouds to train on but those for validation and test ({source})")
    how = f"{len(val)} of them for validation"
    if not val:
        at_least_two(len(train), f"{folder}: clouds")
        train, val = split(train, seed)
        how = f"{len(val)} held out for validation at random"
    left_out = without(clouds, [*train, *val])
    how += f", {len(left_out)} left out" if left_out else ""
    how += f" ({source})" if splits else ""
    return Division(train, val, test, left_out, given=bool(splits), how=how)


def without(paths: Sequence[Path], others: Sequence[Path]) -> list[Path]:
    """The paths that aren't among the others."""
    elsewhere = {path.resolve() for path in others}
    return [path for path in paths if path.resolve() not in elsewhere]


def named_labels(
    file: Path, labels: set[int], description: CloudDescription | None
) -> tuple[dict[int, str], list[int]]:
    """The names of the labels and the ignored ones, as the YAML file says, else the numbers as names."""
    if description is None:
        return {label: str(label) for label in sorted(labels)}, []
    names, ignored = description.classes, description.ignored
    unknown = sorted(labels - {*names, *ignored})
    if unknown:
        raise InputError(f"{file}: no name of label {unknown[0]}, expected one for each label in the clouds")
    return dict(names), [label for label in ignored if label >= 0]


@dataclass(frozen=True)
class Contents:
    """What clouds contain.

    points: their number; labels: those that occur; attributes: what all clouds have; brightest: largest intensity.
    """

    points: int
    labels: set[int]
    attributes: set[str]
    brightest: float

    @property
    def features(self) -> list[str]:
        """What a network from scratch sees."""
        return [name for name in OWN_FEATURES if FEATURES[name][0] in self.attributes]


def read_contents(paths: Sequence[Path]) -> Contents:
    """Read labeled clouds; raises InputError that names one without labels."""
    points, labels, brightest = 0, set(), 0.0
    attributes = {FEATURES[name][0] for name in OWN_FEATURES}
    for path in paths:
        cloud = read_cloud(path)
        if cloud.labels is None:
            raise InputError(
                f"{path}: has no labels, expected one per point in a field label, segment or classification, or beside "
                "velodyne/NAME.bin in labels/NAME.label"
            )
        points += len(cloud)
        labels |= set(np.unique(cloud.labels[cloud.labels >= 0]).tolist())
        # Zeros alone are none: LAS files always have an intensity, and often empty colors.
        attributes &= {"coordinates", *(kind for kind, values in cloud.arrays().items() if values.any())}
        brightest = max(brightest, 0.0 if cloud.intensity is None else float(cloud.intensity.max()))
    return Contents(points, labels, attributes, brightest)


def full_intensity(paths: Sequence[Path], brightest: float) -> int | None:
    """The intensity that stands for 1 in LAS files that fill few of its 16 bits, such as 255; else None."""
    if not 0 < brightest < DARK or any(path.suffix.lower() not in (".las", ".laz") for path in paths):
        return None
    return 2 ** round(brightest * 65535).bit_length() - 1


def inputs_for(info: Mapping[str, Any], requested: bool, *, known: set[str], intensity_max: int | None) -> dict | None:
    """The preprocessing of a checkpoint, whose network sees `known`, the attributes of all clouds.

    None if it sees less, unless the checkpoint is `requested`. Raises InputError if a requested one needs more.
    """
    if not info["preprocessing"]:
        return None
    preprocessing = PointPreprocessing.from_dict(info["preprocessing"])
    needed = {FEATURES[name][0] for name in preprocessing.features}
    if requested and not needed <= known:
        raise InputError(
            f"initial of a network that uses {', '.join(preprocessing.features)}, expected one without "
            f"{min(needed - known)}, which not all clouds have"
        )
    if preprocessing.intensity_max is None:
        preprocessing = replace(preprocessing, intensity_max=intensity_max)
    return {"preprocessing": preprocessing.as_dict()} if requested or needed == known else None


def prepare_clouds(
    out: Path, *, division: Division, about: Mapping[str, Any], preprocessing: Mapping[str, Any]
) -> dict:
    """Write the clouds.yaml of a split, with what is known `about` its labels, and return the data's options."""
    parts = {"train": division.train, "val": division.val}
    root = write_split(out, {**parts, LEFT_OUT: division.left_out} if division.given else parts)
    listed = {**parts, "test": division.test} if division.test else parts
    paths = {name: [str(path.resolve()) for path in part] for name, part in listed.items()}
    write_text(root / "clouds.yaml", yaml.safe_dump({**about, **paths}))
    return {
        "description": str(root / "clouds.yaml"),
        "preprocessing": dict(preprocessing),
        "augmentation": {"mix": 0.0, "crop": 20000},
        "batch_size": min(2, len(division.train)),
    }


def understand_clouds(folder: Path, seed: int) -> OwnData:
    description = described(folder)
    division = divide(folder, description, seed)
    contents = read_contents(division.used)
    names, ignored = named_labels(folder / "clouds.yaml", contents.labels, description)
    if len(names) < 2:
        raise InputError(f"{folder}: one class in all clouds ({named([*names.values()])}), expected at least two")
    intensity_max = full_intensity(division.used, contents.brightest)
    preprocessing = PointPreprocessing(0.1, tuple(contents.features), intensity_max=intensity_max)
    about = {"classes": names, "ignored": ignored}
    return OwnData(
        task=POINTS,
        understood=f"{counted(len(division.used), 'cloud')} with {contents.points:,} points of {len(names)} classes, "
        f"{division.how}; trains a point segmenter",
        items=len(division.train),
        val_items=len(division.val),
        network="ffnet_3d_nano",
        network_args={"in_chans": preprocessing.in_chans},
        inputs_for=partial(inputs_for, known=contents.attributes, intensity_max=intensity_max),
        model_class="PointSegmentation",
        model={
            "num_classes": len(names),
            "optimization": {"lr": 4e-3, "block_lr": 4e-3, "weight_decay": 0.02, "warmup": 0.1},
        },
        data_class="CloudData",
        prepare=partial(prepare_clouds, division=division, about=about, preprocessing=preprocessing.as_dict()),
        trainer={"gradient_clip_val": 10.0},
    )
