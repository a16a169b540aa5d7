"""Weights with their metadata: of every task, of runs, of forecasters, and published ones."""

import contextlib
import io
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from metamixer.checkpoints.ours import network_info, save_network
from metamixer.checkpoints.source import load_network
from metamixer.cli import main
from metamixer.data.detection.transforms import DetectionPreprocessing
from metamixer.data.preprocessing import Preprocessing
from metamixer.errors import DIVERGED, InputError, naming
from metamixer.models import create_model
from metamixer.models.registry import task_of
from metamixer.ops.fusion import fuse
from metamixer.predictors.classifier import Classifier
from metamixer.predictors.detector import Detector
from metamixer.predictors.forecasting.forecaster import Forecaster
from metamixer.predictors.point_segmenter import PointSegmenter
from metamixer.predictors.segmenter import Segmenter
from metamixer.predictors.upscaler import Upscaler
from metamixer.system.weight_files import read_published

from ..kinds import Kind, each_of

BACKBONE = {"depths": [1, 1, 1, 1], "dims": [8, 8, 16, 16]}
LEARNED = {
    "names": ["a", "b"],
    "time": "date",
    "scaling": {"mean": [0.0, 1.0], "std": [1.0, 2.0]},
    "layout": {"long": False, "time": "date"},
    "quantiles": {"80": [[1.0, 1.0]] * 12},
    "frequency": "h",
}
RECIPE = """
model: {class_path: Classification, init_args: {model: ffnet_nano, num_classes: 10, model_args: {depths: [1, 0, 0, 0]}}}
data: {class_path: DigitsData, init_args: {batch_size: 8, num_workers: 0}}
trainer: {accelerator: cpu, max_epochs: 2, limit_train_batches: 1, limit_val_batches: 1, num_sanity_val_steps: 0,
  enable_progress_bar: false, enable_model_summary: false, logger: false}
"""


def make(folder: Path) -> list[Kind]:
    torch.manual_seed(0)
    return [*classifiers(folder), *forecasters(folder), *others(folder), *published(folder), resumed(folder)]


def save(folder: Path, name: str, model: str, arguments: dict[str, Any], **about: Any) -> None:
    info = network_info(model, arguments, task=task_of(model).name, **about)
    save_network(create_model(model, **arguments), info, folder / f"{name}.safetensors")


def classifiers(folder: Path) -> list[Kind]:
    arguments = {**BACKBONE, "num_classes": 3}
    about = {"classes": ["a", "b", "c"], "preprocessing": Preprocessing(size=32).as_dict()}
    save(folder, "network", "ffnet_nano", arguments, **about)
    network = create_model("ffnet_nano", **arguments)
    info = network_info("ffnet_nano", arguments, task="classification", **about)
    save_network(fuse(network.eval()), {**info, "fused": True}, folder / "fused.safetensors")
    state = {f"network.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": state, "metamixer": info, "epoch": 0}, folder / "run.ckpt")

    def classify(path: Path) -> None:
        classifier = Classifier.load(path)
        with naming(path):
            classifier([Image.new("RGB", (32, 32))])

    return [Kind(name, classify) for name in ("network.safetensors", "fused.safetensors", "run.ckpt")]


def forecasters(folder: Path) -> list[Kind]:
    save(folder, "forecaster", "ffnet_ts", {"variables": 2, "lookback": 48, "horizon": 12}, preprocessing=LEARNED)
    alone = {"horizon": 12, "levels": [80.0], "time": None}
    small = {"dim": 16, "depth": 1, "context": 64, "horizon": 32}
    save(folder, "alone", "ffnet_ts_zero", small, preprocessing=alone)
    return [Kind(f"{name}.safetensors", Forecaster.load) for name in ("forecaster", "alone")]


def others(folder: Path) -> list[Kind]:
    """Networks of the other tasks."""
    head = {"num_classes": 3, "backbone_args": BACKBONE, "head_args": {"dim": 8, "out_dim": 8, "depth": 1}}
    window = {"window": 32, "stride": 32}
    save(folder, "segmenter", "ffnet_seg_ade20k", head, classes=["a", "b", "c"], preprocessing=window)
    cascade = {"num_classes": 2, "backbone_args": BACKBONE, "channels": 8, "hidden_dim": 8}
    shown = DetectionPreprocessing(short_side=32, long_side=32).as_dict()
    save(folder, "detector", "cascade_mask_rcnn_ffnet_nano", cascade, classes=["a", "b"], preprocessing=shown)
    save(folder, "upscaler", "ffnet_sr_nano", {"scale": 2, "dim": 8, "depth": 1})
    voxels = {
        "depths": [1, 1],
        "dims": [8, 8],
        "decoder_depths": [1],
        "decoder_dims": [8],
        "num_classes": 2,
        "in_chans": 3,
    }
    save(
        folder,
        "points",
        "ffnet_3d",
        voxels,
        classes=["a", "b"],
        preprocessing={"grid_size": 0.1, "features": ["position"]},
    )
    image, cloud = np.zeros((32, 32, 3), np.uint8), np.random.default_rng(0).random((40, 3))
    loaders = {"segmenter": (Segmenter, image), "detector": (Detector, image), "upscaler": (Upscaler, image)}
    loaders["points"] = (PointSegmenter, cloud)
    return [Kind(f"{name}.safetensors", partial(predict, *how), slow=True) for name, how in loaders.items()]


def predict(predictor: Any, given: Any, path: Path) -> None:
    loaded = predictor.load(path)
    with naming(path):
        loaded(given)


def published(folder: Path) -> list[Kind]:
    """State dicts without metadata, in PyTorch's new and old format and in an archive."""
    state = create_model("ffnet_sr_nano", scale=2).state_dict()
    torch.save({"params": state}, folder / "published.pt")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(folder / "inside.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "published.pt", "weights/a.pth")
    read = each_of(read_published, lambda path: load_network(path, "ffnet_sr_nano"))
    return [Kind(name, read) for name in ("published.pt", "old.pth", "inside.zip")]


def resumed(folder: Path) -> Kind:
    """A run's last checkpoint, from which training goes on."""
    recipe = folder / "resumed.yaml"
    recipe.write_text(RECIPE)
    command("fit", "--config", str(recipe), "--out", str(folder / "run"), "--trainer.max_epochs", "1")
    (folder / "run/last.ckpt").rename(folder / "last.ckpt")

    def resume(path: Path) -> None:
        out = path.with_name(f"{path.stem}_run")
        command("fit", "--config", str(recipe), "--out", str(out), "--ckpt_path", str(path))

    return Kind("last.ckpt", resume, slow=True)


def command(*words: str) -> None:
    """A command; raises InputError with the line that it prints where it fails, but for a training that diverges."""
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        code = main(list(words))
    if code not in (0, DIVERGED):
        raise InputError(said.getvalue())
