"""PSNR of small JPEG files enlarged: bicubic, clean weights, restored then enlarged, and both in one network.

    python benchmarks/photograph_enlarging.py --data super_resolution

`--data` has a folder per set, with large images in HR or directly in it. They are reduced by our bicubic, which equals
MATLAB's, and saved as JPEG by Pillow (4:2:0). PSNR of Y in dB, without a border of `scale` pixels, mean over a set.
Writes benchmarks/results/photograph_enlarging.{json,md}.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import numpy as np
from trainings import write_results

from metamixer import Restorer, Upscaler
from metamixer.commands.upscale import photo_scales
from metamixer.data.images.reading import images_below
from metamixer.data.restoration.degradation import Jpeg
from metamixer.data.super_resolution.pairs import read_pixels
from metamixer.data.super_resolution.quality import psnr
from metamixer.data.super_resolution.resizing import crop_to_multiple, imresize
from metamixer.errors import InputError
from metamixer.system.machine import describe_machine

RESULTS = Path(__file__).parent / "results/photograph_enlarging"
NETWORKS_MULTIPLE = 2
"""The small images have even sides, as restorers at half the resolution take them."""


def ways_of(scale: int, checkpoint: str | None) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Name -> function of a small image, uint8."""
    clean, restorer, one = Upscaler.load(scale=scale), Restorer.load(strength=1.0), None
    if checkpoint or scale in photo_scales():
        one = Restorer.load(checkpoint, scale=scale)
    ways = {
        "bicubic": lambda small: imresize(small, scale),
        "clean weights": lambda small: np.asarray(clean(small)),
        "restored, then enlarged": lambda small: np.asarray(clean(np.asarray(restorer(small)))),
        "one network": one,
    }
    return {name: way for name, way in ways.items() if way is not None}


def measure(files: list[Path], scale: int, quality: int, ways: dict) -> dict[str, float]:
    """Way -> mean PSNR in dB over a set."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    save = Jpeg((quality, quality), (2,))
    for number, file in enumerate(files):
        large = crop_to_multiple(read_pixels(file), NETWORKS_MULTIPLE * scale)
        small = imresize(large, 1 / scale).astype(np.float32) / 255
        small = (save(small, np.random.default_rng(number)) * 255).round().astype(np.uint8)
        for name, enlarge in ways.items():
            found[name].append(psnr(np.asarray(enlarge(small)), large, border=scale))
    return {name: mean(values) for name, values in found.items()}


def write(rows: list[dict]) -> None:
    """Write the results as JSON and as a table."""
    names = list(dict.fromkeys(name for row in rows for name in row["psnr"]))
    lines = [
        "PSNR in dB on Y of images reduced by bicubic, saved as JPEG and enlarged, with the weights in the package.",
        f"Measured on: {describe_machine()}.",
        "",
        f"| set | scale | quality | images | {' | '.join(names)} |",
        f"|---|---|---|---|{'---|' * len(names)}",
        *(
            f"| {row['set']} | {row['scale']} | {row['quality']} | {row['images']} | "
            + " | ".join(f"{row['psnr'][name]:.2f}" if name in row["psnr"] else "" for name in names)
            + " |"
            for row in rows
        ),
    ]
    write_results(RESULTS, lines, {"rows": rows})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders with one folder per set")
    parser.add_argument("--sets", nargs="+", default=["Set5"], help="names of sets")
    parser.add_argument("--scales", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--qualities", type=int, nargs="+", default=[30, 75, 90], help="of JPEG")
    parser.add_argument("--checkpoint", help="a training run's network instead of the packaged ones; prints only")
    options = parser.parse_args()
    folders = {
        name: next((each / name for each in options.data if (each / name).is_dir()), None) for name in options.sets
    }
    for name, folder in folders.items():
        if folder is None:
            raise InputError(f"{name}: no folder of this name in {', '.join(map(str, options.data))}")
    rows = []
    for scale in options.scales:
        ways = ways_of(scale, options.checkpoint)
        for name, folder in folders.items():
            files = images_below(folder / "HR" if (folder / "HR").is_dir() else folder)
            for quality in options.qualities:
                found = measure(files, scale, quality, ways)
                rows.append({"set": name, "scale": scale, "quality": quality, "images": len(files), "psnr": found})
                print(rows[-1], flush=True)
    if options.checkpoint is None:
        write(rows)


if __name__ == "__main__":
    main()
