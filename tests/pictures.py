"""Images of every mode and small networks, for the tests of upscaling and restoring."""

import numpy as np
import torch
from PIL import Image

import metamixer
from metamixer.checkpoints.ours import network_info, save_network
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
