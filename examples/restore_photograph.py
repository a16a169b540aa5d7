"""Spoil a photograph by noise and by JPEG, restore it, and compare with the original.

    python examples/restore_photograph.py

Prints the PSNR of the luminance and writes an image for each: spoiled, restored by the network in the package, and the
original. The photograph is scikit-image's astronaut, which needs no download.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from metamixer import Restorer
from metamixer.data.restoration.degradation import DEGRADATIONS
from metamixer.data.super_resolution.quality import psnr
from metamixer.system.files import write_png

DETAIL = (slice(10, 230), slice(130, 330))
"""Rows and columns of the face, which the written image shows."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/photograph"), help="folder for the images")
    options = parser.parse_args()
    original = data.astronaut()
    restorer = Restorer.load()
    for name in ("noise_25", "jpeg_20"):
        spoiled = DEGRADATIONS[name](original.astype(np.float32) / 255, scale=1, random=np.random.default_rng(0))
        restored = restorer(spoiled)
        images = [as_pixels(spoiled), as_pixels(restored), original]
        picture = options.out / f"astronaut_{name}.png"
        write_png(picture, Image.fromarray(np.hstack([image[DETAIL] for image in images])))
        before, after = (psnr(image, original, border=0) for image in images[:2])
        print(f"{name}: {before:.2f} dB, restored {after:.2f} dB ({what_it_did(restored)}): {picture}")


def as_pixels(image: np.ndarray) -> np.ndarray:
    """About [0, 1] -> uint8, rounded and clipped."""
    return (np.asarray(image) * 255).round().clip(0, 255).astype(np.uint8)


def what_it_did(restored) -> str:
    """The estimate and the strength of a result."""
    return f"{restored.estimate}, strength {restored.strength:.2f}"


if __name__ == "__main__":
    main()
