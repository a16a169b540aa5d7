"""Images of every mode and small networks, for the tests of upscaling and restoring."""

import io
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

import metamixer
from metamixer.checkpoints.ours import network_info, save_network
from metamixer.zoo import files, weights
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
    return _save_untrained("ffnet_restore", {"in_chans": channels, "scale": scale, **SMALL}, path)


def save_small_photograph_network(path, scale=2):
    """The same of one that restores, then enlarges."""
    return _save_untrained("ffnet_photograph", {"scale": scale, **SMALL}, path)


def _save_untrained(name, arguments, path):
    torch.manual_seed(0)
    save_network(metamixer.create_model(name, **arguments), network_info(name, arguments, task="restoration"), path)
    return path


def packaged_restorers(monkeypatch, folder, scales=(2,)):
    """Small weights in a folder that stands for the package's: for gray and color, and enlarging by these scales."""
    saved = {
        "ffnet_restore_gray": save_small_restorer(folder / "ffnet_restore_gray.safetensors", channels=1),
        "ffnet_restore": save_small_restorer(folder / "ffnet_restore.safetensors"),
    }
    for scale in scales:
        name = f"ffnet_photograph_x{scale}"
        saved[name] = save_small_photograph_network(folder / f"{name}.safetensors", scale=scale)
        save_small_upscaler(folder / f"{MODEL}_x{scale}.safetensors", scale=scale)
    known = {each.name: each for each in weights.WEIGHTS}
    entries = [replace(known[name], file=path.name, sha256=None) for name, path in saved.items()]
    others = (each for each in weights.WEIGHTS if each.task != "restoration")
    monkeypatch.setattr(weights, "WEIGHTS", (*others, *entries))
    monkeypatch.setattr(files, "FOLDER", folder)


def jpeg_of(pixels, quality):
    """A JPEG file of an array, opened."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return Image.open(file)


def noisy_of(clean, std=20):
    """A photograph with noise, uint8 -> float."""
    return clean / 255 + std / 255 * np.random.RandomState(0).randn(*clean.shape)


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
