"""A photograph made smaller by bicubic, then enlarged again by the network in the package: how near does each come to
the original?

    python examples/enlarge_photograph.py

The photograph is the astronaut of scikit-image, which needs no download. Prints PSNR on brightness and writes a picture
for each scale.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from metamixer import Upscaler
from metamixer.checkpoints.packaged import packaged_scales
from metamixer.data.super_resolution.quality import psnr
from metamixer.data.super_resolution.resizing import crop_to_multiple, imresize
from metamixer.system.files import write_png

MODEL = "ffnet_sr_nano"
DETAIL = (slice(10, 230), slice(130, 330))
"""Rows and columns that the picture shows: the face."""


def enlarge(photograph: np.ndarray, scale: int) -> dict[str, np.ndarray]:
    """photograph: (H, W, 3) uint8 -> what each way makes of a `scale` times smaller one."""
    small = imresize(photograph, 1 / scale)
    return {"bicubic": imresize(small, scale), MODEL: Upscaler(MODEL, scale)(small)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/photograph"), help="folder for the pictures")
    options = parser.parse_args()
    for scale in packaged_scales(MODEL):
        original = crop_to_multiple(data.astronaut(), scale)
        enlarged = enlarge(original, scale)
        figures = ", ".join(f"{name} {psnr(image, original, border=scale):.2f} dB" for name, image in enlarged.items())
        picture = options.out / f"astronaut_x{scale}.png"
        write_png(picture, Image.fromarray(np.hstack([image[DETAIL] for image in (*enlarged.values(), original)])))
        print(f"x{scale}: {figures}; left to right {', '.join(enlarged)}, original: {picture}")


if __name__ == "__main__":
    main()
