"""PSNR of the packaged restorers, or of a checkpoint, against noise and JPEG.

    python benchmarks/restoration.py --data restoration

`--data` has a folder of clean images per set. Gray images go to the gray network, color ones to the color one. By the
rules of the field: noise of a fixed seed that isn't clipped, JPEG by Pillow, results rounded to 8 bits, PSNR of gray or
of Y over whole images, mean over a set. Missing sets are skipped. val_color are the validation images of
recipes/restoration/color.yaml, whose validation leaves out a border of one pixel: 0.02 dB more. Writes
benchmarks/results/restoration.{json,md}.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

import numpy as np
from trainings import write_results

from metamixer import Restorer
from metamixer.data.images.reading import images_below
from metamixer.data.restoration.degradation import DEGRADATIONS
from metamixer.data.super_resolution.pairs import read_pixels
from metamixer.data.super_resolution.quality import psnr
from metamixer.errors import InputError
from metamixer.system.machine import describe_machine

RESULTS = Path(__file__).parent / "results/restoration"
SETS = {
    "Set12": ("noise_15", "noise_25", "noise_50"),
    "BSD68": ("noise_15", "noise_25", "noise_50"),
    "Classic5": ("jpeg_10", "jpeg_20", "jpeg_40"),
    "LIVE1": ("jpeg_10", "jpeg_20", "jpeg_40"),
    "val_color": ("noise_25", "jpeg_20"),
}
PER_LEVEL = {
    ("Set12", "noise_15"): 32.86,
    ("Set12", "noise_25"): 30.44,
    ("Set12", "noise_50"): 27.18,
    ("BSD68", "noise_15"): 31.73,
    ("BSD68", "noise_25"): 29.23,
    ("BSD68", "noise_50"): 26.23,
}
"""PSNR in dB of DnCNN-S, a network of 17 layers for each level of noise (paper, Zhang et al. 2017)."""

ONE_FOR_ALL = {
    ("Set12", "noise_15"): 32.68,
    ("Set12", "noise_25"): 30.36,
    ("Set12", "noise_50"): 27.21,
    ("BSD68", "noise_15"): 31.61,
    ("BSD68", "noise_25"): 29.16,
    ("BSD68", "noise_50"): 26.23,
    ("Classic5", "jpeg_10"): 29.40,
    ("Classic5", "jpeg_20"): 31.63,
    ("Classic5", "jpeg_40"): 33.77,
    ("LIVE1", "jpeg_10"): 29.19,
    ("LIVE1", "jpeg_20"): 31.59,
    ("LIVE1", "jpeg_40"): 33.96,
}
"""The same of networks of 20 layers: DnCNN-B for noise of any level, DnCNN-3 for JPEG of any quality."""


def as_pixels(image: np.ndarray) -> np.ndarray:
    """About [0, 1] -> uint8, rounded and clipped."""
    return (image * 255).round().clip(0, 255).astype(np.uint8)


def measure(files: list[Path], degradation: str, restorer: Restorer) -> dict[str, float]:
    """Mean PSNR in dB of the degraded images and of the restored ones, and the seconds for each."""
    before, after, seconds = [], [], []
    for number, file in enumerate(files):
        clean = read_pixels(file)
        random = np.random.default_rng(number)
        degraded = DEGRADATIONS[degradation](clean.astype(np.float32) / 255, scale=1, random=random)
        start = time.perf_counter()
        restored = np.asarray(restorer(degraded, strength=1.0))
        seconds.append(time.perf_counter() - start)
        before.append(psnr(as_pixels(degraded), clean, border=0))
        after.append(psnr(as_pixels(restored), clean, border=0))
    return {"degraded": mean(before), "restored": mean(after), "seconds": mean(seconds)}


def quality(data: Path, restorer: Restorer) -> list[dict]:
    """One row per set and degradation."""
    folders = {name: data / name for name in SETS if (data / name).is_dir()}
    if not folders:
        raise InputError(f"{data}: none of {', '.join(SETS)} in it, expected one folder per set")
    rows = []
    for name, folder in folders.items():
        files = images_below(folder)
        for degradation in SETS[name]:
            rows.append({"set": name, "degradation": degradation, "images": len(files)})
            rows[-1] |= measure(files, degradation, restorer)
            print(rows[-1], flush=True)
    return rows


def write(rows: list[dict], title: str) -> None:
    """Write the results as JSON and as a table."""
    lines = [
        f"PSNR in dB of {title}, before and after. DnCNN (paper, Zhang et al. 2017): DnCNN-S, one network of 17 layers "
        "(0.56 M parameters) per level of noise; one of 20 layers (0.67 M) for all of it: DnCNN-B noise, DnCNN-3 JPEG.",
        f"Measured on: {describe_machine()}.",
        "",
        "| set | degradation | images | degraded | restored | DnCNN-S | DnCNN-B, DnCNN-3 | seconds per image |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {row['set']} | {row['degradation'].replace('_', ' ')} | {row['images']} | {row['degraded']:.2f} | "
            f"{row['restored']:.2f} | {published(PER_LEVEL, row)} | {published(ONE_FOR_ALL, row)} | "
            f"{row['seconds']:.2f} |"
            for row in rows
        ),
    ]
    write_results(RESULTS, lines, {"weights": title, "rows": rows})


def published(figures: Mapping[tuple[str, str], float], row: Mapping) -> str:
    """The published figure for a row; empty if there is none."""
    figure = figures.get((row["set"], row["degradation"]))
    return "" if figure is None else f"{figure:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("restoration"), help="folder with one folder per set")
    parser.add_argument("--checkpoint", help="file of a training run; by default the weights in the package")
    parser.add_argument("--backend", help="as for `metamixer restore`")
    options = parser.parse_args()
    restorer = Restorer.load(options.checkpoint, backend=options.backend)
    write(quality(options.data, restorer), options.checkpoint or "the weights in the package")


if __name__ == "__main__":
    main()
