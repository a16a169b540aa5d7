"""metamixer draw"""

from pathlib import Path

from ..system.files import check_targets, free_name
from .output import Output


def draw(
    checkpoint: str,
    *,
    out: str | None = None,
    block: str = "stages.2.blocks.0",
    json: str | None = None,
    overwrite: bool = False,
) -> None:
    """Draw a training run on one sheet: predictions on test images, training curve, learned kernels.

    Args:
        checkpoint: a checkpoint in its run folder, which also contains config.yaml and logs.
        out: the image file to write; default: sheet.png, or sheet_2.png if that exists.
        block: the mixer block whose depthwise kernels, such as keys and values, are drawn.
        json: file for the names of the checkpoint and the sheet as JSON; "-" for standard output, without other lines.
        overwrite: replace existing files.
    """
    from ..training.run_sheet import draw_sheet

    out = out or free_name("sheet.png", overwrite=overwrite)
    check_targets([Path(out)], sources=[Path(checkpoint)], overwrite=overwrite)
    output = Output(json, sources=[Path(checkpoint)], overwrite=overwrite)
    with output.alone():
        draw_sheet(Path(checkpoint), Path(out), block=block)
    output.end(
        {"checkpoint": checkpoint, "sheet": out}, wrote=[out], then=f"metamixer export {checkpoint} --format onnx"
    )
