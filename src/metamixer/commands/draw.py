"""metamixer draw"""

from pathlib import Path


def draw(checkpoint: str, *, out: str = "sheet.png", block: str = "stages.2.blocks.0") -> None:
    """Draw a training run on one sheet: predictions on test images, training curve, learned kernels.

    Args:
        checkpoint: a file in the folder of a training run (its configuration and logs lie beside it).
        out: the picture to write.
        block: the mixer block of which key and value kernels are drawn.
    """
    from ..analysis import draw_sheet

    draw_sheet(Path(checkpoint), Path(out), block=block)
    print(f"{out}: predictions, training curve and kernels of {checkpoint}")
