"""How well the noise of a photograph is estimated, and what the strength and the weights chosen by it are worth.

    python benchmarks/noise_estimate.py --data ../shared/data/restoration

Photographs of scikit-image and scikit-learn, and Set12 with `--data`, at half their size, with noise of
known std, rounded and clipped to 8 bits: white, of a camera (stronger in bright pixels, smoothed by demosaicing), and
at night (darkened to a quarter, then as of a camera). The true std is that of the noise within the 8 bits. In details
of 96 x 96 pixels of the packages' photographs: PSNR as given and restored by the estimated strength, and of what
`metamixer upscale` makes of it at x2, with the clean weights, the photo weights, and those it chooses.

`--name before --estimates` adds the estimates of other code, a checkout on PYTHONPATH; the table compares all columns.
Writes benchmarks/results/noise_estimate.{json,md}.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import numpy as np
from PIL import Image
from report import write_results
from skimage import data
from sklearn.datasets import load_sample_image
from trainings import FOLDER

from metamixer import Restorer, Upscaler
from metamixer.data.restoration import estimate
from metamixer.data.restoration.degradation import CameraNoise
from metamixer.data.restoration.estimate import Estimate
from metamixer.data.super_resolution.quality import psnr
from metamixer.data.super_resolution.resizing import crop_to_multiple, imresize

RESULTS = FOLDER / "results/noise_estimate"
STDS = (0, 2, 5, 10, 15, 25, 50)
ENLARGED = [("white", 0), ("white", 5), ("white", 15), ("night", 0), ("night", 2), ("night", 5), ("night", 15)]
"""Noise with which details are restored and enlarged."""

SCALE, SIDE, BORDER = 2, 96, 4
"""Enlargement; side of the details at the small size; pixels left out at their borders."""

SPOILED = 0.5
"""Strength from which `upscale` restores first: metamixer.data.restoration.estimate.SPOILED, new with the choice."""

WAYS = {"given": "given", "restored": "restored", "clean": "x2, clean weights", "photo": "photo", "chosen": "chosen"}
"""What PSNR is measured of, with its title."""

EXPOSURES = {"white": 1.0, "camera": 1.0, "night": 0.25}
"""Kind of noise -> how much light the photograph has."""

CAMERA = CameraNoise((0.5, 0.5), (1.2, 1.2), (0.5, 0.5))
"""Shape of a camera's noise: in black half as strong as on the average, smoothed by 0.5 pixels."""

PHOTOGRAPHS: dict[str, Callable[[], np.ndarray]] = {
    "astronaut": data.astronaut,
    "brick": data.brick,
    "cameraman": data.camera,
    "cat": data.chelsea,
    "coffee": data.coffee,
    "coins": data.coins,
    "grass": data.grass,
    "gravel": data.gravel,
    "moon": data.moon,
    "motorcycle": lambda: data.stereo_motorcycle()[0],
    "rocket": data.rocket,
    "china": lambda: load_sample_image("china.jpg"),
    "flower": lambda: load_sample_image("flower.jpg"),
}


def with_noise(clean: np.ndarray, kind: str, std: float, random: np.random.Generator) -> np.ndarray:
    """(H, W, C) in [0, 1] with noise of this std, of 255, as uint8."""
    noise = random.standard_normal(clean.shape, dtype=np.float32)
    if kind != "white":
        noise = CAMERA(clean, random) - clean
    noise *= std / 255 / np.sqrt(np.square(noise).mean())
    return as_bytes(clean + noise)


def as_bytes(pixels: np.ndarray) -> np.ndarray:
    return (pixels * 255).round().clip(0, 255).astype(np.uint8)


def spoiled(original: np.ndarray, seed: int) -> Iterator[tuple[str, int, np.ndarray, np.ndarray]]:
    """Kind, std, the large photograph (float, white = 1), and its half with noise (uint8)."""
    for kind, exposure in EXPOSURES.items():
        large = original.astype(np.float32) / 255 * exposure
        small = imresize(original, 1 / SCALE).astype(np.float32) / 255 * exposure
        for std in STDS:
            yield kind, std, large, with_noise(small, kind, std, np.random.default_rng(seed))


def found_in(noisy: np.ndarray) -> Estimate:
    """The estimate, without looking for traces of JPEG, which takes most of the time; of earlier code too."""
    sample = estimate.bands(noisy) / np.float32(255)
    dark = {"bright": estimate.brightness(sample)} if hasattr(estimate, "brightness") else {}
    return Estimate(estimate.noise_std(sample), **dark)


def detail(image: np.ndarray, side: int) -> np.ndarray:
    """The square in the middle, of at most this side, beginning at a multiple of `SCALE`."""
    top, left = (max(length - side, 0) // 2 // SCALE * SCALE for length in image.shape[:2])
    return image[top : top + side, left : left + side]


class Ways(NamedTuple):
    """A restorer at scale 1, one at `SCALE`, and an upscaler for clean images."""

    restorer: Restorer
    photo: Restorer
    clean: Upscaler


def qualities(large: np.ndarray, noisy: np.ndarray, found: Estimate, ways: Ways) -> dict:
    """PSNR in dB of the detail, given and restored, and enlarged in three ways."""
    exact = as_bytes(detail(large, SIDE * SCALE))
    small, given = imresize(exact, 1 / SCALE), detail(noisy, SIDE)
    exact = exact[: given.shape[0] * SCALE, : given.shape[1] * SCALE]
    restored = ways.restorer.fitting(given.shape[2]).restore(given, found.strength)
    enlarged = {"clean": np.asarray(ways.clean(given)), "photo": ways.photo.restore(given, found.strength)}
    known = {way: psnr(image.reshape(exact.shape), exact, border=BORDER) for way, image in enlarged.items()}
    known["chosen"] = known["photo" if found.strength >= SPOILED else "clean"]
    for name, image in {"given": given, "restored": restored}.items():
        known[name] = min(psnr(image, small, border=BORDER), 60.0)
    return known


def measure(folder: Path | None, ways: Ways | None) -> list[dict]:
    """A row per photograph and noise."""
    originals = {name: np.atleast_3d(read()) for name, read in PHOTOGRAPHS.items()}
    files = sorted((folder / "Set12").glob("*.png")) if folder else []
    originals |= {f"Set12/{file.stem}": np.atleast_3d(np.asarray(Image.open(file))) for file in files}
    rows = []
    for seed, (name, original) in enumerate(originals.items()):
        for kind, std, large, noisy in spoiled(crop_to_multiple(original, SCALE), seed):
            clean = imresize(as_bytes(large), 1 / SCALE).astype(np.float32)
            found = found_in(noisy)
            row = {"photograph": name, "noise": kind, "std": std, "found": found.noise, "strength": found.strength}
            row["true"] = float(np.sqrt(np.square(noisy - clean).mean())) if std else 0.0
            if ways and name in PHOTOGRAPHS and (kind, std) in ENLARGED:
                row |= qualities(large, noisy, found, ways)
            rows.append(row)
        print(name, flush=True)
    return rows


def summary(rows: list[dict]) -> list[dict]:
    """For each noise: medians of the true std, the estimate and its error, the mean strength, and the mean PSNR."""
    lines = []
    for kind, std in product(EXPOSURES, STDS):
        own = [row for row in rows if (row["noise"], row["std"]) == (kind, std)]
        line = {"noise": kind, "std": std}
        line |= {name: median(row[name] for row in own) for name in ("true", "found")}
        line["error"] = median(abs(row["found"] - row["true"]) for row in own)
        line["strength"] = fmean(row["strength"] for row in own)
        line |= {way: fmean(row[way] for row in own if way in row) for way in WAYS if any(way in row for row in own)}
        lines.append({name: round(value, 3) if isinstance(value, float) else value for name, value in line.items()})
    return lines


def table(columns: Mapping[str, list[dict]]) -> list[str]:
    """Estimate, error and strength of each column; PSNR of the last one."""
    what = {"found": "estimate", "error": "error", "strength": "strength"}
    head = ["noise", "true std", *(f"{title}, {name}" for title in what.values() for name in columns), *WAYS.values()]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for of in zip(*columns.values(), strict=True):
        cells = [f"{of[-1]['noise']} {of[-1]['std']}", f"{of[-1]['true']:.1f}"]
        cells += [f"{line[key]:.2f}" for key in what for line in of]
        cells += [f"{of[-1][way]:.2f}" if way in of[-1] else "" for way in WAYS]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds Set12")
    parser.add_argument("--name", default="after", help="of the column")
    parser.add_argument("--estimates", action="store_true", help="without restoring and enlarging")
    options = parser.parse_args()
    file = RESULTS.with_suffix(".json")
    columns = json.loads(file.read_text())["columns"] if file.is_file() else {}
    columns = {name: rows for name, rows in columns.items() if name != options.name}
    ways = None if options.estimates else Ways(Restorer.load(), Restorer.load(scale=SCALE), Upscaler.load(scale=SCALE))
    columns[options.name] = summary(measure(options.data, ways))
    about = "Median estimate and error over all photographs, mean strength; PSNR in dB, mean over the packages' ones."
    lines = [f"{about} Std of 255; a PSNR above 60 counts as 60.", "", *table(columns)]
    write_results(RESULTS, lines, {"columns": columns})


if __name__ == "__main__":
    main()
