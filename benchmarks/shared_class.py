"""Top-1 on Imagenette with and without n03417042, the class that mini-ImageNet, and so the packaged backbone, has too.

"Without" leaves that class's images out; the network still chooses among all ten classes.
"""

from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from torch import Tensor
from trainings import last_validation

from metamixer import load_checkpoint
from metamixer.data import ImageData, Preprocessing

SHARED = "n03417042"
NOTE = f"Without {SHARED}: on the images of the other nine classes; all ten may be predicted."
TOLERANCE = 0.1
"""Points between the logged and the repeated evaluation: bfloat16 rounds differently on another machine."""


def run_through(function: Callable[[Tensor], Tensor], folder: Path, split: str, size: int) -> tuple[Tensor, Tensor]:
    """Outputs and labels of a split, without augmentation."""
    data = ImageData(str(folder), batch_size=100, num_workers=0, preprocessing=Preprocessing(size=size, crop_pct=1.0))
    loader = torch.utils.data.DataLoader(data.evaluation_dataset(split), batch_size=100)
    with torch.inference_mode():
        pairs = [(function(images.contiguous(memory_format=torch.channels_last)), labels) for images, labels in loader]
    return torch.cat([output for output, _ in pairs]), torch.cat([labels for _, labels in pairs])


def top1(logits: Tensor, labels: Tensor) -> float:
    """In percent."""
    return 100 * (logits.argmax(dim=1) == labels).float().mean().item()


def without_shared(logits: Tensor, labels: Tensor, folder: Path) -> float:
    """Top-1 on the images of the other nine classes; all ten may be predicted."""
    shared = sorted(path.name for path in (folder / "val").iterdir()).index(SHARED)
    return top1(logits[labels != shared], labels[labels != shared])


def of_run(run: Path, folder: Path, size: int = 96) -> tuple[float, float]:
    """Top-1 of a finished run on the val split of `folder`: as logged after the last epoch, and without the class.

    Evaluates `last.ckpt`, which holds the moving average if the run had one, and raises ValueError if it isn't what was
    logged.
    """
    logged = 100 * float(last_validation(run, "val/top1")["val/top1"])
    network = load_checkpoint(run / "last.ckpt")[0].to(memory_format=torch.channels_last)
    bfloat16 = yaml.safe_load((run / "config.yaml").read_text())["trainer"]["precision"] == "bf16-mixed"
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        logits, labels = run_through(network, folder, "val", size)
    found = top1(logits, labels)
    if abs(found - logged) > TOLERANCE:
        raise ValueError(f"{run / 'last.ckpt'}: top-1 {found:.2f} %, expected {logged:.2f} %, as logged")
    return logged, without_shared(logits, labels, folder)
