"""metamixer export"""

from collections.abc import Sequence

from ..errors import InputError


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
    overwrite: bool = False,
) -> None:
    """Write a network, fused and with its preprocessing, in another library's format, and prove the file equal to the network.

    Args:
        source: a checkpoint or a network's name.
        format: onnx, openvino, coreml, executorch, litert or torch.
        out: the file to write; none: the source's name with the format's suffix, here.
        model: the name that a published checkpoint needs.
        pretrained: for a network by name: its published weights, else first values.
        size: side of the images in pixels; none: the checkpoint's.
        precision: fp32, fp16, bf16 or int8, as far as the format knows it; none: the format's own.
        dynamic: leave batch and, where the format can, size free; false: a batch of one, or that of --shape.
        images: folder of images (or .npy arrays of inputs) on which file and network are compared.
        int8: short for --precision int8.
        calibration: folder of images (or .npy arrays) from which int8 chooses its ranges.
        validation: folder of labelled images, FOLDER/CLASS/IMAGE, on which int8's accuracy is measured.
        max_drop: percentage points of top-1 that int8 may cost; none: 1.
        mixed: leave the costliest layers in floating point where int8 costs more.
        samples: most images to take of `images` and `calibration`.
        overwrite: replace what exists.
    """
    from ..deployment.request import export_request

    if int8 and precision not in (None, "int8"):
        raise InputError(f"precision {precision!r} with --int8, expected one of the two")
    report = export_request(
        source,
        format=format,
        out=out,
        model=model,
        pretrained=pretrained,
        size=size,
        shape=tuple(shape) if shape else None,
        precision="int8" if int8 else precision,
        dynamic=dynamic,
        images=images,
        calibration=calibration,
        validation=validation,
        max_drop=max_drop,
        mixed=mixed,
        samples=samples,
        overwrite=overwrite,
    )
    print(report)
