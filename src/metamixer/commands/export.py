"""metamixer export"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, at_least, expect_room
from ..system.files import free_name
from .output import Output
from .progress import working

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import Dataset

    from ..deployment.quantization import Quantization

HUB = "hub"
"""The format that is a folder in the layout of the Hugging Face Hub, not a file of a runtime."""


def export(
    source: str,
    *,
    format: str,
    out: str | None = None,
    model: str | None = None,
    pretrained: bool = True,
    size: int | None = None,
    shape: Sequence[int] | None = None,
    precision: str | None = None,
    dynamic: bool = True,
    images: str | None = None,
    int8: bool = False,
    calibration: str | None = None,
    validation: str | None = None,
    max_drop: float | None = None,
    mixed: bool = False,
    samples: int = 300,
    json: str | None = None,
    overwrite: bool = False,
) -> None:
    """Export a network, fused and with its normalization, to another runtime's format and verify the outputs.

    Args:
        source: a checkpoint or a network's name.
        format: onnx, openvino, coreml, executorch, litert or torch; or hub, an unfused network in a folder with the
            layout of the Hugging Face Hub, which timm also opens.
        out: the file to write; default: the source's name with the format's suffix, or NAME_2 if that exists.
        model: the network's name, needed for a published checkpoint.
        pretrained: for a network by name: use its published weights; false: a random initialization.
        size: side of the images in pixels; default: the checkpoint's.
        shape: shape of one input, such as 1 3 64 64, for a network that doesn't define it.
        precision: fp32, fp16, bf16 or int8, if the format supports it; default: the format's.
        dynamic: allow any batch size and, if the format permits, any image size; false: batch size 1, or --shape.
        images: folder of images (or .npy arrays of inputs) for comparing file and network.
        int8: short for --precision int8.
        calibration: folder of images (or .npy arrays) for the ranges of int8.
        validation: folder of labeled images, FOLDER/CLASS/IMAGE, for the accuracy of int8.
        max_drop: allowed loss of top-1 by int8 in percentage points; default: 1.
        mixed: keep the costliest layers in floating point if int8 loses more.
        samples: maximum number of images from `images` and `calibration`.
        json: file for the report as JSON; "-" for standard output, without other lines.
        overwrite: replace existing files.
    """
    if format == HUB:
        export_hub(source, out, model=model, pretrained=pretrained, json=json, overwrite=overwrite)
        return
    from ..deployment.exporting import export as export_network
    from ..deployment.formats import FORMATS, import_form
    from ..deployment.samples import example_of, image_preprocessing, read_samples
    from ..deployment.targets import check_out
    from ..models.tasks import task_row

    if int8 and precision not in (None, "int8"):
        raise InputError(f"precision {precision!r} with --int8, expected one of the two")
    precision, shape = "int8" if int8 else precision, tuple(shape) if shape else None
    if format not in FORMATS:
        raise InputError(f"format {format!r}, expected one of {', '.join([*FORMATS, HUB])}")
    kind = FORMATS[format]
    import_form(format, kind.module, kind.packages)
    limits = {"max_drop": max_drop, "mixed": mixed or None}
    _check_precision(precision, {"calibration": calibration, "validation": validation, **limits})
    _check_sizes(samples=samples, size=size, shape=shape)
    if not Path(source).name:
        raise InputError(f"source {source!r}, expected a checkpoint or a network's name")
    target = Path(out or free_name(Path(source).with_suffix(kind.suffix).name, overwrite=overwrite))
    output = Output(json, sources=[Path(source)], overwrite=overwrite)
    check_out(target, kind, sources=[Path(source)], overwrite=overwrite)
    network, info = exportable(source, model, pretrained=pretrained)
    info = _with_side(info, size=size, shape=shape)
    example = example_of(network, info, size=size, shape=shape)
    read = partial(read_samples, preprocessing=image_preprocessing(info), example=example, limit=samples)
    how = {"format": format, "precision": precision, "dynamic": dynamic, "overwrite": overwrite}
    if precision == "int8" and calibration:
        how["quantization"] = _quantization(info, lambda: read(calibration), validation, limits)
    inputs = read(images) if images else None
    with working(f"writing and verifying {target.name}"):
        report = export_network(network, target, info=info, example=example, samples=inputs, **how)
    output.say(report)
    row = task_row(info["task"], source)
    command = f"metamixer {row.command} INPUT --checkpoint {target}"
    then = command if row.predicts_exported else f"metamixer.load_exported({str(target)!r}) in Python"
    output.end(report.to_dict(), wrote=[target], then=then)


def exportable(source: str, model: str | None, *, pretrained: bool) -> tuple["nn.Module", dict]:
    """A network with one input and one output tensor, and its description; raises InputError for others."""
    from torch import nn

    from ..checkpoints.source import load_network
    from ..models.tasks import task_row

    network, info = load_network(source, model, pretrained=pretrained)
    if not isinstance(network, nn.Module):
        raise InputError(
            f"{source}: an exported file, expected the checkpoint it was exported from, or a network's name"
        )
    if not task_row(info["task"], source).exportable:
        raise InputError(f"{source}: a network for {info['task']}, expected one with one input and one output tensor")
    return network, info


def _quantization(
    info: Mapping[str, Any], read: Callable[[], Any], validation: str | None, limits: Mapping[str, Any]
) -> "Quantization":
    """How to quantize, with the samples that `read` gives; the data to measure on is judged first."""
    from ..deployment.quantization import Quantization

    dataset, classes = labelled_images(validation, info)
    _check_limits(limits, info, measured=dataset is not None)
    chosen = {name: value for name, value in limits.items() if value is not None}
    return Quantization(read(), dataset, classes, **chosen)


def export_hub(
    source: str, out: str | None, *, model: str | None, pretrained: bool, json: str | None, overwrite: bool
) -> None:
    """Write a folder with config.json, model.safetensors and README.md."""
    from torch import nn

    from ..checkpoints.hub import BACKBONE, CARD, CONFIG, WEIGHTS, write_hub_folder
    from ..checkpoints.reached import reached
    from ..checkpoints.source import found_weights, is_name, load_network
    from ..models.tasks import task_row
    from ..system.files import check_targets
    from ..zoo.weights import find_weights

    folder = Path(out or free_name(Path(source).stem, overwrite=overwrite))
    output = Output(json, sources=[Path(source)], overwrite=overwrite)
    check_targets(
        [folder / name for name in (CONFIG, WEIGHTS, CARD, BACKBONE)], sources=[Path(source)], overwrite=overwrite
    )
    network, info = load_network(source, model, pretrained=pretrained)
    if not isinstance(network, nn.Module):
        raise InputError(f"{source}: an exported file, expected the checkpoint it was exported from")
    task = task_row(info["task"], source).name
    weights = find_weights(source) if is_name(source) else None
    figure = None if is_name(source) else reached(Path(found_weights(source)), task)
    written = write_hub_folder(network, info, folder, weights=weights, reached=figure)
    output.end(
        {"folder": str(folder), "files": [path.name for path in written]},
        wrote=written,
        then=f"metamixer.load({str(folder)!r}) in Python, or complete {CARD} and upload the folder",
    )


def labelled_images(folder: str | None, info: dict[str, Any]) -> tuple["Dataset | None", list[str]]:
    """The images on which to evaluate int8, and their classes: required for classifiers, an error for others."""
    from ..deployment.samples import image_preprocessing, read_labelled
    from ..models.tasks import CLASSIFICATION

    preprocessing = image_preprocessing(info)
    if info["task"] == CLASSIFICATION.name and not folder:
        raise InputError("precision 'int8' needs labeled images to measure its accuracy: --validation FOLDER")
    if folder and not preprocessing:
        raise InputError(f"validation {folder!r} for {info['model']}, expected a classifier with known preprocessing")
    return read_labelled(folder, preprocessing, limit=None) if folder and preprocessing else (None, [])


def _check_precision(precision: str | None, only_int8: Mapping[str, object]) -> None:
    """Raise InputError for int8 without calibration images, and for int8's options without int8."""
    if precision == "int8" and not only_int8["calibration"]:
        raise InputError("precision 'int8' needs calibration images: --calibration FOLDER")
    for name, value in only_int8.items():
        if precision != "int8" and value is not None:
            raise InputError(f"{name} {value!r}, expected --int8 as well")


def _check_limits(limits: Mapping[str, object], info: dict[str, Any], *, measured: bool) -> None:
    """Raise InputError for limits on the loss of accuracy if no accuracy is measured."""
    for name, value in limits.items():
        if value is not None and not measured:
            raise InputError(
                f"{name} {value!r} for {info['model']}, expected a classifier: other networks have no measured accuracy"
            )


def _check_sizes(*, samples: int, size: int | None, shape: tuple[int, ...] | None) -> None:
    for name, least in (
        ("samples", samples),
        ("size", size),
        ("smallest size of shape", min(shape) if shape else None),
    ):
        if least is not None:
            at_least(name, least, 1)
    expect_room("size or shape", shape or (1, 3, size or 1, size or 1))
    if size and shape:
        raise InputError(f"size {size} and shape {_spaced(shape)}, expected one of the two")


def _with_side(info: dict[str, Any], *, size: int | None, shape: tuple[int, ...] | None) -> dict[str, Any]:
    """A classifier's info with the image size of the exported file."""
    from ..deployment.samples import image_preprocessing

    if not image_preprocessing(info) or not (size or shape):
        return info
    if shape and (len(shape) != 4 or shape[2] != shape[3]):
        raise InputError(
            f"shape {_spaced(shape)} for {info['model']}, expected a batch of square images, such as 1 3 96 96"
        )
    return {**info, "preprocessing": {**info["preprocessing"], "size": shape[-1] if shape else size}}


def _spaced(shape: tuple[int, ...]) -> str:
    return " ".join(map(str, shape))
