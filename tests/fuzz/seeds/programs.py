"""Exported files of every format whose package is installed."""

from importlib.util import find_spec
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from metamixer.checkpoints.ours import network_info
from metamixer.checkpoints.source import load_network
from metamixer.data.preprocessing import Preprocessing
from metamixer.deployment.exporting import export
from metamixer.errors import naming
from metamixer.predictors.classifier import Classifier
from metamixer.tasks.teacher import Exported, fingerprint

from ..kinds import Kind

FORMATS = {
    "torch": ("program.pt2", "torch"),
    "onnx": ("program.onnx", "onnxruntime"),
    "openvino": ("program.xml", "openvino"),
}
"""Format of `metamixer export` -> name of the seed, and the package that it needs."""


def make(folder: Path) -> list[Kind]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    info = network_info("", {}, task="classification", classes=list("abcd"), preprocessing=Preprocessing(32).as_dict())
    for format, (name, package) in FORMATS.items():
        if find_spec(package):
            export(network, folder / name, format=format, info=info, example=torch.rand(1, 3, 32, 32))
    beside = {"program.xml": ("program.bin",), "program.bin": ("program.xml",)}
    names = [*(name for name, _ in FORMATS.values()), "program.bin"]
    return [Kind(name, run, beside.get(name, ()), slow=not name.endswith(".pt2")) for name in names]


def run(path: Path) -> None:
    path = path.with_suffix(".xml") if path.suffix == ".bin" else path
    network, info = load_network(path, None, "classification")
    if not isinstance(network, nn.Module):
        fingerprint(Exported(network, path))
    with naming(path):
        Classifier.of(network, info)([Image.new("RGB", (32, 32))])
