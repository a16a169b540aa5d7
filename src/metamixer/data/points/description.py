"""The YAML file that describes a folder of clouds: its classes and splits."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError, is_whole
from ...system.yaml_files import read_yaml

IGNORED_POINT = -1
"""Label of ignored points."""
SPLITS = ("train", "val", "test")
KEYS = ("classes", "ignored", *SPLITS)


@dataclass(frozen=True)
class CloudDescription:
    """classes: labels in files -> names, in class order; ignored: ignored labels; splits: their files."""

    classes: Mapping[int, str]
    ignored: tuple[int, ...]
    splits: Mapping[str, list[str]]


def read_description(path: Path) -> CloudDescription:
    """Read the YAML file; raises InputError that names the file, the key and the value if one is invalid."""
    content = _read(path)
    unknown = [key for key in content if key not in KEYS]
    if unknown:
        raise InputError(f"{path}: unknown key {unknown[0]!r}, expected some of {', '.join(KEYS)}")
    content = {key: value for key, value in content.items() if value is not None}
    missing = [key for key in ("classes", "train", "val") if content.get(key, []) in ([], {}, "")]
    if missing:
        raise InputError(f"{path}: no {', '.join(missing)}, expected classes, train and val")
    classes, ignored = labels_of(content, path)
    splits = {key: _files(content[key], key, path=path) for key in SPLITS if content.get(key)}
    return CloudDescription(classes, ignored, splits)


def labels_of(content: Mapping[str, Any], path: Path) -> tuple[dict[int, str], tuple[int, ...]]:
    """The names of the labels and the ignored labels in the YAML file's content."""
    classes = _classes(content["classes"], path)
    ignored = content.get("ignored") or []
    if not isinstance(ignored, list) or not all(map(is_whole, ignored)):
        raise InputError(f"{path}: ignored: {ignored!r}, expected a list of whole numbers such as [0, 1]")
    both = [label for label in (IGNORED_POINT, *ignored) if label in classes]
    if both:
        raise InputError(
            f"{path}: label {both[0]} in classes and ignored, expected it in one ({IGNORED_POINT} is always ignored)"
        )
    return classes, (IGNORED_POINT, *ignored)


def read_labels(path: Path) -> tuple[dict[int, str], tuple[int, ...]]:
    """The same of a YAML file that may lack `train` and `val`; raises InputError if `classes` is missing or invalid."""
    content = _read(path)
    if not content.get("classes"):
        raise InputError(f"{path}: no classes, expected a list of names, or a mapping from labels to names")
    return labels_of(content, path)


def _read(path: Path) -> dict[Any, Any]:
    content = read_yaml(path, expected="a YAML file of clouds")
    if not isinstance(content, dict):
        raise InputError(f"{path}: contains {type(content).__name__}, expected keys such as classes, train and val")
    return content


def _classes(classes: Any, path: Path) -> dict[int, str]:
    named = dict(enumerate(classes)) if isinstance(classes, list) else classes
    if not isinstance(named, dict):
        raise InputError(f"{path}: classes: {classes!r}, expected a list of names, or a mapping from labels to names")
    for label, name in named.items():
        if not is_whole(label):
            raise InputError(
                f"{path}: classes: label {label!r}, expected a whole number before the name, as in 2: ground"
            )
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise InputError(f"{path}: classes: name {name!r} of label {label}, expected text")
    return {label: str(name) for label, name in named.items()}


def _files(files: Any, split: str, *, path: Path) -> list[str]:
    """Return a list of files; a single file may stand for a list of one."""
    listed = [files] if isinstance(files, str) else files
    if not isinstance(listed, list) or not all(isinstance(file, str) for file in listed):
        raise InputError(f"{path}: {split}: {files!r}, expected a list of files and folders")
    return listed
