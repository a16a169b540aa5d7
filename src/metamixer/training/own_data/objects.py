"""Images with a COCO JSON file: objects with boxes and masks."""

import json
import os
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from ...data.detection.coco_json import load_coco, read_coco
from ...data.held_out import at_least_two
from ...errors import InputError, InputWarning, counted, first_line
from ...models.tasks import DETECTION
from ...system.files import write_text
from ..run_folder import list_split
from .images import expect_readable
from .stratified import stratified_split
from .understood import OwnData, named, write_split


def coco_files(folder: Path) -> list[Path]:
    """The COCO files in a folder or its `annotations`."""
    found = sorted([*folder.glob("*.json"), *folder.glob("annotations/*.json"), *folder.glob("*/_annotations*.json")])
    return [path for path in found if path.is_file() and is_coco(path)]


def is_coco(path: Path) -> bool:
    """Whether a JSON file has the keys of a COCO file; warns of one that can't be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        warnings.warn(f"{path}: ignored, not readable JSON ({first_line(error)})", InputWarning, stacklevel=2)
        return False
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content)


def folder_of_images(root: Path, json_file: Path, content: dict[str, Any]) -> Path:
    """The folder of a COCO file's images: its own, one with its name, or `images`."""
    names = [image["file_name"] for image in content["images"]]
    if not names:
        raise InputError(f"{json_file}: no images, expected some")
    stem = json_file.stem.removeprefix("instances_")
    places = [json_file.parent, root, root / "images", root / stem, json_file.parent / stem, root / "images" / stem]
    found = next((place for place in places if os.path.isfile(place / names[0])), None)
    if found is None:
        raise InputError(f"{json_file}: image {names[0]} not found, expected it in {root} or {root / 'images'}")
    return found


def prepare_objects(
    out: Path, *, folder: Path, files: tuple[Path, Path | None], content: dict[str, Any], split: dict[str, list[int]]
) -> dict:
    """List the split, write its COCO files unless there is one for validation, and return the data's options.

    files: the COCO file to train with, and the one to validate with; content: the first's; split: its images.
    """
    first, other = files
    images = folder_of_images(folder, first, content)
    if other:
        val_content = load_coco(other)
        val_images = folder_of_images(folder, other, val_content)
        list_split(out, {"train": images_of(content, images), "val": images_of(val_content, val_images)})
        places = {"train": (images, first), "val": (val_images, other)}
    else:
        places = {kind: (images, path) for kind, path in divide(content, images, out, split).items()}
    named_places = {
        f"{kind}_{what}": str(path.resolve())
        for kind, both in places.items()
        for what, path in zip(("images", "annotations"), both, strict=True)
    }
    return {
        "preprocessing": {"short_side": 256, "long_side": 384},
        "augmentation": {"short_sides": [224, 256], "long_side": 384, "crop_probability": 0.0},
        "batch_size": min(2, len(split["train"])),
        "root": str(folder.resolve()),
        **named_places,
    }


def splits_named(path: str) -> set[str]:
    """The splits in the name of a COCO file; both for `trainval`, which is all images."""
    return {kind for kind in ("train", "val") if kind in path.lower()}


def files_of_splits(folder: Path) -> tuple[Path, Path | None]:
    """The COCO file to train with, and the one to validate with, if there is one for each."""
    files = coco_files(folder)
    splits = {file: splits_named(str(file.relative_to(folder))) for file in files}
    train, val = (next((file for file in files if splits[file] == {kind}), None) for kind in ("train", "val"))
    if train and val:
        return train, val
    if len(files) > 1:
        raise InputError(f"{folder}: {len(files)} COCO files, expected one, or one for train and one for val")
    return files[0], None


def understand_objects(folder: Path, seed: int) -> OwnData:
    first, other = files_of_splits(folder)
    content = load_coco(first)
    images = folder_of_images(folder, first, content)
    at_least_two(len(content["images"]), f"{first}: images")
    expect_readable(images_of(content, images))
    names = [str(category["name"]) for category in content["categories"]]
    if not names or not content["annotations"]:
        raise InputError(f"{first}: no categories or no annotations, expected both")
    judge(first, images)
    train, val = split_by_classes(content, seed)
    val_count = len(load_coco(other)["images"]) if other else len(val)
    prepare = partial(
        prepare_objects,
        folder=folder,
        files=(first, other),
        content=content,
        split={"train": train, "val": val},
    )
    how = f"{val_count} more for validation" if other else f"{len(val)} held out for validation"
    return OwnData(
        task=DETECTION,
        understood=f"{len(content['images'])} images with {counted(len(content['annotations']), 'object')} of "
        f"{counted(len(names), 'class', 'classes')} "
        f"({named(names)}), {how}; trains a detector",
        items=len(content["images"]) if other else len(train),
        val_items=val_count,
        network="cascade_mask_rcnn_ffnet_nano",
        network_args={"proposal_count": 200, "region_samples": 32, "anchor_scale": 4},
        on_backbone=True,
        model_class="Detection",
        model={"num_classes": len(names), "optimization": {"lr": 1e-3, "layer_decay": None, "warmup_steps": 20}},
        data_class="CocoData",
        prepare=prepare,
        trainer={"gradient_clip_val": 10.0},
        for_epochs=milestones,
    )


def milestones(epochs: int) -> dict[str, list[float]]:
    """The epochs at which the learning rate falls."""
    return {"milestones": [round(0.75 * epochs, 2), round(0.92 * epochs, 2)]}


def judge(path: Path, images: Path) -> None:
    """Raise InputError for what training would refuse, by the name of the user's file and not of a split's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # of annotations that are left out: training warns of them
        read_coco(path, images)


def split_by_classes(content: dict[str, Any], seed: int) -> tuple[list[Any], list[Any]]:
    """The ids of the images for training and for validation, with every class in both parts."""
    classes: dict[Any, set] = {image["id"]: set() for image in content["images"]}
    for one in content["annotations"]:
        if one["image_id"] in classes:
            classes[one["image_id"]].add(one["category_id"])
    ids = list(classes)
    train, val = ([ids[i] for i in part] for part in stratified_split(list(classes.values()), seed))
    return train, val


def images_of(content: dict[str, Any], folder: Path) -> list[Path]:
    """The images of a COCO file."""
    return [folder / image["file_name"] for image in content["images"]]


def divide(content: dict[str, Any], images: Path, out: Path, parts: dict[str, list[Any]]) -> dict[str, Path]:
    """Write a COCO file for the images of each split."""
    by_id = {image["id"]: images / image["file_name"] for image in content["images"]}
    folder = write_split(out, {kind: [by_id[one] for one in ids] for kind, ids in parts.items()})
    files = {}
    for kind, ids in parts.items():
        kept = set(ids)
        part = {
            **content,
            "images": [image for image in content["images"] if image["id"] in kept],
            "annotations": [one for one in content["annotations"] if one["image_id"] in kept],
        }
        files[kind] = folder / f"{kind}.json"
        write_text(files[kind], json.dumps(part))
    return files
