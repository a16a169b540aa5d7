"""PSNR of small photographs enlarged: bicubic, clean weights, restored then enlarged, one network, and `upscale`.

    python benchmarks/photograph_enlarging.py --data super_resolution

`--data` has a folder per set, with large images in HR or directly in it. They are reduced by our bicubic, which equals
MATLAB's, and saved as JPEG by Pillow (4:2:0); or made a photograph as in training, by blur, any filter, noise and JPEG
at random, seeded. `restored, then enlarged` and `one network` restore fully, `upscale` by the estimated strength. PSNR
of Y in dB, without a border of `scale` pixels, mean over a set.
Writes benchmarks/results/photograph_enlarging.{json,md}.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
from report import write_results

from metamixer import Restorer, Upscaler
from metamixer.data.images.reading import images_below
from metamixer.data.restoration.degradation import DEGRADATIONS, Jpeg
from metamixer.data.super_resolution.pairs import read_pixels
from metamixer.data.super_resolution.quality import psnr
from metamixer.data.super_resolution.resizing import crop_to_multiple, imresize
from metamixer.errors import InputError
from metamixer.system.machine import describe_machine

RESULTS = Path(__file__).parent / "results/photograph_enlarging"
MULTIPLE = 2
"""The small images have even sides, as restorers at half the resolution take them."""


def ways_of(scale: int, checkpoint: str | None) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Name -> function of a small image, uint8."""
    clean, restorer = Upscaler.load(scale=scale), Restorer.load(strength=1.0)
    photo = Restorer.load(checkpoint, scale=scale)
    return {
        "bicubic": lambda small: imresize(small, scale),
        "clean weights": lambda small: np.asarray(clean(small)),
        "restored, then enlarged": lambda small: np.asarray(clean(np.asarray(restorer(small)))),
        "one network": lambda small: np.asarray(photo(small, strength=1.0)),
        "upscale": lambda small: np.asarray(photo(small)),
    }


def as_jpeg(large: np.ndarray, *, scale: int, random: np.random.Generator, quality: int) -> np.ndarray:
    """(H, W, 3) uint8 -> reduced by bicubic and saved in this quality, [0, 1]."""
    return Jpeg((quality, quality), (2,))(imresize(large, 1 / scale).astype(np.float32) / 255, random)


def as_photograph(large: np.ndarray, *, scale: int, random: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 -> spoiled as in training, about [0, 1]."""
    return DEGRADATIONS["photograph"](large.astype(np.float32) / 255, scale=scale, random=random)


SPOILERS = {
    "photograph": as_photograph,
    **{f"JPEG {quality}": partial(as_jpeg, quality=quality) for quality in (30, 75, 90, 95)},
}
"""What is done to an image before it is enlarged."""


def measure(files: list[Path], scale: int, spoil: Callable, ways: dict) -> dict[str, float]:
    """Way -> mean PSNR in dB over a set."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number, file in enumerate(files):
        large = crop_to_multiple(read_pixels(file), MULTIPLE * scale)
        small = spoil(large, scale=scale, random=np.random.default_rng(number))
        small = (small * 255).round().clip(0, 255).astype(np.uint8)
        for name, enlarge in ways.items():
            found[name].append(psnr(enlarge(small), large, border=scale))
    return {name: mean(values) for name, values in found.items()}


def write(rows: list[dict]) -> None:
    """Write the results as JSON and as a table."""
    names = list(dict.fromkeys(name for row in rows for name in row["psnr"]))
    lines = [
        "PSNR in dB on Y of images reduced, spoiled and enlarged, with the weights in the package.",
        f"Measured on: {describe_machine()}.",
        "",
        f"| set | scale | spoiled as | images | {' | '.join(names)} |",
        f"|---|---|---|---|{'---|' * len(names)}",
        *(
            f"| {row['set']} | {row['scale']} | {row['spoiled']} | {row['images']} | "
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
    parser.add_argument("--scales", type=int, nargs="+", default=[2, 3, 4])
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
            for spoiled, spoil in SPOILERS.items():
                found = measure(files, scale, spoil, ways)
                rows.append({"set": name, "scale": scale, "spoiled": spoiled, "images": len(files), "psnr": found})
                print(rows[-1], flush=True)
    if options.checkpoint is None:
        write(rows)


if __name__ == "__main__":
    main()
