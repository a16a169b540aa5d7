"""Images of every mode and small networks, for the tests of upscaling and restoring."""

from dataclasses import replace

import numpy as np
import torch
from PIL import Image

import metamixer
from metamixer.checkpoints.ours import network_info, save_network
from metamixer.zoo import files, weights
from metamixer.zoo.weights import Weights
from random_statistics import randomize

MODEL = "ffnet_sr_nano"
SMALL = {"dim": 8, "depth": 2}


def save_small_upscaler(path, scale=2):
    """The file of a small network with weights as after training."""
    torch.manual_seed(0)
    network = randomize(metamixer.create_model(MODEL, scale=scale, **SMALL))
    with torch.no_grad():
        network.head.weight.mul_(0.05)
        network.head.bias.zero_()
    save_network(network, network_info(MODEL, {"scale": scale, **SMALL}, task="super_resolution"), path)
    return path


def save_small_restorer(path, channels=3, scale=1):
    """The file of a small restoration network with weights as after training."""
    torch.manual_seed(0)
    arguments = {"in_chans": channels, "scale": scale, **SMALL}
    network = metamixer.create_model("ffnet_restore", **arguments)
    save_network(network, network_info("ffnet_restore", arguments, task="restoration"), path)
    return path


def packaged_restorers(monkeypatch, folder):
    """Small restoration weights in a folder that stands for the package's: gray, color and twice the size."""
    entries = []
    for name, channels, scale in (("_gray", 1, 1), ("", 3, 1), ("_x2", 3, 2)):
        file = save_small_restorer(folder / f"ffnet_restore{name}.safetensors", channels, scale).name
        arguments = {"in_chans": channels, "scale": scale}
        entry = Weights(f"ffnet_restore{name}", "ffnet_restore", file, 1.0, "291 images", arguments=arguments)
        entries.append(replace(entry, packaged=True))
    others = (known for known in weights.WEIGHTS if known.network != "ffnet_restore")
    monkeypatch.setattr(weights, "WEIGHTS", (*others, *entries))
    monkeypatch.setattr(files, "FOLDER", folder)


def noise(height, width, channels, dtype=np.uint8):
    """Smooth noise over the whole range of the type."""
    small = np.random.RandomState(0).rand(height // 4 + 1, width // 4 + 1, channels)
    smooth = np.kron(small, np.ones((4, 4, 1)))[:height, :width]
    return (smooth * np.iinfo(dtype).max).astype(dtype)


def picture(mode, size=(30, 20)):
    """A Pillow image of this mode."""
    if mode == "I;16":
        return Image.fromarray(noise(size[1], size[0], 1, np.uint16)[:, :, 0])
    return Image.fromarray(noise(size[1], size[0], 4), mode="RGBA").convert(mode)
