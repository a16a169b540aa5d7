"""metamixer draw"""

from pathlib import Path

from ..system.files import check_targets


def draw(checkpoint: str, *, out: str = "sheet.png", block: str = "stages.2.blocks.0", overwrite: bool = False) -> None:
    """Plot a training run: predictions on test images, training curve, kernels.

    Args:
        checkpoint: a checkpoint in the folder of a training run, which also has its config.yaml and logs.
        out: the image file to write.
        block: the mixer block whose key and value kernels are drawn.
        overwrite: replace an existing file.
    """
    from ..training.run_sheet import draw_sheet

    check_targets([Path(out)], sources=[Path(checkpoint)], overwrite=overwrite)
    draw_sheet(Path(checkpoint), Path(out), block=block)
    print(f"{out}: predictions, training curve and kernels of {checkpoint}")
