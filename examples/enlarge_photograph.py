"""Reduce a photograph with bicubic resizing, enlarge it again, and compare with the original.

    python examples/enlarge_photograph.py

Compares bicubic with the network in the package: prints the PSNR of the luminance, and writes an image for each scale.
The photograph is scikit-image's astronaut, which needs no download.
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
"""Rows and columns of the face, which the written image shows."""


def enlarge(photograph: np.ndarray, scale: int) -> dict[str, np.ndarray]:
    """Reduce a photograph (H, W, 3) uint8 `scale` times and enlarge it with each method; return the results by name."""
    small = imresize(photograph, 1 / scale)
    return {"bicubic": imresize(small, scale), MODEL: Upscaler(MODEL, scale)(small)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/photograph"), help="folder for the images")
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
