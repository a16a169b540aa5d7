"""PSNR of the packaged restorers, or of a checkpoint, against noise and JPEG.

    python benchmarks/restoration.py --data restoration [--dncnn DnCNN]

`--data` has a folder of clean images per set. Gray images go to the gray network, color ones to the color one. By the
rules of the field: noise of a fixed seed that isn't clipped, JPEG by Pillow, results rounded to 8 bits, PSNR of gray or
of Y over whole images, mean over a set. Missing sets are skipped. val_color are the validation images of
recipes/restoration/color.yaml, whose validation leaves out a border of one pixel: 0.02 dB more. `--dncnn`, a clone of
github.com/cszn/DnCNN, measures its blind networks on the same images. Writes benchmarks/results/restoration.{json,md}.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean

import numpy as np
from dncnn import FILES, DnCNN
from report import write_results

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

COLUMNS = (
    "set",
    "degradation",
    "images",
    "degraded",
    "restored",
    "ensemble",
    "DnCNN-S",
    "DnCNN-B, DnCNN-3",
    "the same, measured",
    "seconds per image",
)

Restore = Callable[..., np.ndarray]
"""As a `Restorer` is called."""


def as_pixels(image: np.ndarray) -> np.ndarray:
    """About [0, 1] -> uint8, rounded and clipped."""
    return (image * 255).round().clip(0, 255).astype(np.uint8)


def measure(files: list[Path], degradation: str, ways: Mapping[str, Restore]) -> dict[str, float]:
    """Mean PSNR in dB of the degraded images and by every way of restoring, and the first way's seconds for each."""
    found = {name: [] for name in ("degraded", *ways, "seconds")}
    for number, file in enumerate(files):
        clean = read_pixels(file)
        random = np.random.default_rng(number)
        degraded = DEGRADATIONS[degradation](clean.astype(np.float32) / 255, scale=1, random=random)
        found["degraded"].append(psnr(as_pixels(degraded), clean, border=0))
        for name, restore in ways.items():
            start = time.perf_counter()
            restored = np.asarray(restore(degraded, strength=1.0))
            if name == "restored":
                found["seconds"].append(time.perf_counter() - start)
            found[name].append(psnr(as_pixels(restored).reshape(clean.shape), clean, border=0))
    return {name: mean(values) for name, values in found.items()}


def quality(data: Path, ways: Mapping[str, Restore], theirs: Mapping[str, Restore]) -> list[dict]:
    """One row per set and degradation; theirs: kind of degradation -> one way more for gray images."""
    folders = {name: data / name for name in SETS if (data / name).is_dir()}
    if not folders:
        raise InputError(f"{data}: none of {', '.join(SETS)} in it, expected one folder per set")
    rows = []
    for name, folder in folders.items():
        files = images_below(folder)
        for degradation in SETS[name]:
            more = theirs.get(degradation.partition("_")[0]) if name != "val_color" else None
            rows.append({"set": name, "degradation": degradation, "images": len(files)})
            rows[-1] |= measure(files, degradation, {**ways, **({"dncnn": more} if more else {})})
            print(rows[-1], flush=True)
    return rows


def write(rows: list[dict], title: str) -> None:
    """Write the results as JSON and as a table."""
    lines = [
        f"PSNR in dB of {title}, before and after, alone and as the mean over 8 mirrored and turned images "
        "(`ensemble`). DnCNN (Zhang et al. 2017): DnCNN-S, one network of 17 layers (0.56 M parameters) per level of "
        "noise; one of 20 layers (0.67 M) for all of it, DnCNN-B for noise and DnCNN-3 for JPEG: as published (the "
        "noise of Set12 as quoted by another repository), and their weights measured here.",
        f"Measured on: {describe_machine()}.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
        *(f"| {' | '.join(cells(row))} |" for row in rows),
    ]
    write_results(RESULTS, lines, {"weights": title, "rows": rows})


def cells(row: Mapping) -> list[str]:
    """A row of the table."""
    anchors = [figures.get((row["set"], row["degradation"])) for figures in (PER_LEVEL, ONE_FOR_ALL)]
    numbers = [row["degraded"], row["restored"], row["ensemble"], *anchors, row.get("dncnn"), row["seconds"]]
    first = [row["set"], row["degradation"].replace("_", " "), str(row["images"])]
    return first + ["" if number is None else f"{number:.2f}" for number in numbers]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("restoration"), help="folder with one folder per set")
    parser.add_argument("--checkpoint", help="file of a training run; by default the weights in the package")
    parser.add_argument("--backend", help="as for `metamixer restore`")
    parser.add_argument("--dncnn", type=Path, help="clone of github.com/cszn/DnCNN, to measure it too (needs h5py)")
    options = parser.parse_args()
    ways = {
        name: Restorer.load(options.checkpoint, backend=options.backend, ensemble=size)
        for name, size in (("restored", 1), ("ensemble", 8))
    }
    theirs = {kind: DnCNN.from_matlab(options.dncnn / file) for kind, file in FILES.items()} if options.dncnn else {}
    write(quality(options.data, ways, theirs), options.checkpoint or "the weights in the package")


if __name__ == "__main__":
    main()
