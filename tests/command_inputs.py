"""Inputs of commands: the checkpoint of a small classifier, and a folder of images."""

from functools import cache

from PIL import Image

import metamixer
from metamixer.checkpoints.ours import network_info, save_network
from metamixer.data import Preprocessing
from random_statistics import randomize

CLASSES = ["circle", "square", "triangle"]
PREPROCESSING = Preprocessing(size=32, crop_pct=1.0)
SMALL = {"num_classes": 3, "depths": (1, 1, 1, 1), "dims": (8, 16, 32, 64), "stem_dim": 8}


def save_classifier(path):
    """The checkpoint of a small network with three classes."""
    about = {"classes": CLASSES, "preprocessing": PREPROCESSING.as_dict()}
    save_network(classifier(), network_info("ffnet_nano", SMALL, task="classification", **about), path)
    return path


@cache
def classifier():
    return randomize(metamixer.create_model("ffnet_nano", **SMALL))


def save_pictures(folder):
    """A new folder with two images in two formats, one of them in a subfolder, and a text file."""
    (folder / "below").mkdir(parents=True)
    Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 20).save(folder / "a.png")
    Image.radial_gradient("L").save(folder / "below" / "b.jpg")
    (folder / "notes.txt").write_text("not a picture")
    return folder
