"""What `metamixer export` asks for: folders and names turned into networks, inputs and labels, then `export`."""

from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from ..errors import InputError, at_least
from .exporting import Report, export
from .formats import find_format, import_form
from .quantization import Quantization
from .samples import read_labelled, read_samples
from .source import example_of, image_preprocessing, load_network
from .targets import check_out

SEVERAL_TENSORS = ("detection", "points")
"""Tasks whose networks take or give more than one tensor, which no format here holds."""


def export_request(
    source: str,
    *,
    format: str,
    out: str | None,
    model: str | None,
    pretrained: bool,
    size: int | None,
    shape: tuple[int, ...] | None,
    precision: str | None,
    dynamic: bool,
    images: str | None,
    calibration: str | None,
    validation: str | None,
    max_drop: float | None,
    mixed: bool,
    samples: int,
    overwrite: bool,
) -> Report:
    """Export what the command line names; raises InputError for whatever of it doesn't fit."""
    kind = find_format(format)
    import_form(format, kind.module, kind.packages)
    if precision == "int8" and not calibration:
        raise InputError("precision 'int8', expected images to calibrate on as well: --calibration FOLDER")
    if precision != "int8":
        _refuse_given(calibration=calibration, validation=validation, max_drop=max_drop, mixed=mixed or None)
    for name, least in (("samples", samples), ("size", size), ("smallest size of shape", min(shape) if shape else None)):
        if least is not None:
            at_least(name, least, 1)
    target = Path(out or Path(source).with_suffix(kind.suffix).name)
    check_out(target, kind, sources=[Path(source)], overwrite=overwrite)
    network, info = load_network(source, model=model, pretrained=pretrained)
    if info["task"] in SEVERAL_TENSORS:
        raise InputError(f"{source}: a network for {info['task']}, expected one that takes one tensor and gives one")
    if size and image_preprocessing(info):
        info = {**info, "preprocessing": {**info["preprocessing"], "size": size}}
    example = example_of(info, size=size, shape=shape)
    quantization = None
    if precision == "int8" and calibration:
        dataset, classes = labelled_images(validation, info)
        inputs = read_samples(calibration, image_preprocessing(info), example, limit=samples)
        quantization = Quantization(inputs, dataset, classes, Quantization.max_drop if max_drop is None else max_drop, mixed)
    return export(
        network,
        target,
        format=format,
        info=info,
        example=example,
        precision=precision,
        dynamic=dynamic,
        samples=read_samples(images, image_preprocessing(info), example, limit=samples) if images else None,
        quantization=quantization,
        overwrite=overwrite,
    )


def labelled_images(folder: str | None, info: dict[str, Any]) -> tuple[Dataset | None, list[str]]:
    """What int8's accuracy is measured on, with the folder's classes: a classifier needs it, no other network can use it."""
    preprocessing = image_preprocessing(info)
    if info["task"] == "classification" and not folder:
        raise InputError("precision 'int8', expected labelled images to measure its accuracy on as well: --validation FOLDER")
    if folder and not preprocessing:
        raise InputError(f"validation {folder!r} for {info['model']}, expected a classifier that tells its preprocessing")
    return read_labelled(folder, preprocessing, limit=None) if folder and preprocessing else (None, [])


def _refuse_given(**options: object) -> None:
    """Options that only int8 has a use for."""
    for name, value in options.items():
        if value is not None:
            raise InputError(f"{name} {value!r}, expected --int8 as well")
