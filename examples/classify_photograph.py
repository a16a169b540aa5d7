"""Classify a photograph with the network in the package, and draw it with its most probable classes.

    python examples/classify_photograph.py --out runs/rocket.jpg

The photograph is scikit-image's rocket, by SpaceX in the public domain, which needs no download.
"""

import argparse
from pathlib import Path

from PIL import Image
from skimage import data

from metamixer import Classifier
from metamixer.system.files import write_picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/rocket.jpg"), help="file for the picture")
    options = parser.parse_args()
    found = Classifier.load()(Image.fromarray(data.rocket()))
    write_picture(options.out, found.draw())
    print(f"{found}: {options.out}")


if __name__ == "__main__":
    main()
