"""Images of sky, grass and a red house with labels, for the tests of segmentation."""

import numpy as np
import yaml
from lightning import Trainer
from PIL import Image

from metamixer.data import SegmentationAugmentation, SegmentationData
from metamixer.tasks import Segmentation, SegmentationOptimization

COLOURS = [[10, 20, 200], [20, 160, 20], [200, 30, 30]]
NARROW = {"backbone_args": {"depths": (1, 1, 1, 1)}, "head_args": {"dim": 16, "depth": 1, "out_dim": 32}}
MODEL = "ffnet_head_ffnet_nano"


def write_scene(folder):
    """Write two 48x64 images per split of sky, grass and a red house; some pixels are ignored."""
    classes = [
        {"name": name, "colour": colour} for name, colour in zip(("sky", "grass", "house"), COLOURS, strict=True)
    ]
    (folder / "classes.yaml").write_text(yaml.safe_dump({"classes": classes, "ignore_index": 9}))
    generator = np.random.default_rng(0)
    for split in ("train", "val"):
        for i in range(2):
            labels = np.zeros((48, 64), np.uint8)
            labels[24:] = 1
            labels[14 + i : 34, 20 : 40 + 4 * i] = 2
            pixels = np.array(COLOURS)[labels] + generator.integers(-10, 11, (48, 64, 3))
            labels[:2] = 9
            for name, array in ((split, pixels.clip(0, 255).astype(np.uint8)), (f"{split}_labels", labels)):
                (folder / name).mkdir(exist_ok=True)
                Image.fromarray(array).save(folder / name / f"{i}.png")
    return folder


def data(root, **kwargs):
    augmentation = SegmentationAugmentation(crop=(64, 96), scale=(1.2, 2.0), photometric=0.0)
    return SegmentationData(str(root), **{"num_workers": 0, "augmentation": augmentation, "in_memory": True, **kwargs})


def task(**kwargs):
    return Segmentation(
        MODEL, 3, model_args=NARROW, optimization=SegmentationOptimization(lr=5e-3, warmup_steps=0), **kwargs
    )


def trainer(tmp_path, **kwargs):
    return Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **kwargs,
    )
