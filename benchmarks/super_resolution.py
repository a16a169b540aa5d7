"""PSNR and SSIM of the weights in the package, or of a checkpoint, on Set5, Set14, B100, Urban100 and Manga109.

    python benchmarks/super_resolution.py --data super_resolution

`--data` has a folder per set, with large images in HR and optionally small ones in LR_bicubic/X2, X3, X4. Missing small
images are made with our bicubic, which equals MATLAB's. Missing sets are skipped. Writes
benchmarks/results/super_resolution.{json,md}, with one row per set and scale.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import numpy as np
from report import write_results

from metamixer import Upscaler
from metamixer.data.super_resolution.pairs import ImagePairs
from metamixer.data.super_resolution.quality import psnr, ssim
from metamixer.data.super_resolution.resizing import imresize
from metamixer.errors import InputError
from metamixer.models.ffnet_sr import SCALES
from metamixer.system.machine import describe_machine

RESULTS = Path(__file__).parent / "results/super_resolution"
SETS = ("Set5", "Set14", "B100", "Urban100", "Manga109")
FORMS = {"fp32": {}, "bf16": {"precision": "bf16"}, "ensemble of 8": {"ensemble": 8}}
"""Name -> options of `Upscaler`."""


def measure(pairs: ImagePairs, enlarge: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
    """Mean PSNR in dB and SSIM of the luminance over a set, without a border of `scale` pixels."""
    images = [(enlarge(small), large) for small, large in (pairs.pair(i) for i in range(len(pairs)))]
    return {
        name: mean(quality(restored, large, border=pairs.scale) for restored, large in images)
        for name, quality in (("psnr", psnr), ("ssim", ssim))
    }


def measure_set(folder: Path, scale: int, *, upscalers: dict[str, Upscaler]) -> dict:
    """Evaluate bicubic and each upscaler on one set at one scale."""
    small = folder / f"LR_bicubic/X{scale}"
    made = ImagePairs([folder / "HR"], scale=scale)
    pairs = ImagePairs([folder / "HR"], small, scale=scale) if small.is_dir() else made
    equal = sum(np.array_equal(pairs.pair(i)[0], made.pair(i)[0]) for i in range(len(pairs)))
    ways = {"bicubic": lambda image: imresize(image, scale), **upscalers}
    qualities = {name: measure(pairs, way) for name, way in ways.items()}
    return {"set": folder.name, "scale": scale, "images": len(pairs), "equal": equal, **qualities}


def write(title: str, rows: list[dict], names: list[str]) -> None:
    """Write the results as JSON and as a table."""
    lines = [
        f"PSNR in dB / SSIM on Y of {title}. Small images are the given ones, or made with our bicubic; equal: number "
        "of images for which both are the same.",
        f"Measured on: {describe_machine()}.",
        "",
        f"| set | scale | images | equal | {' | '.join(names)} |",
        f"|---|---|---|---|{'---|' * len(names)}",
        *(
            f"| {row['set']} | {row['scale']} | {row['images']} | {row['equal']} | "
            + " | ".join(f"{row[name]['psnr']:.2f} / {row[name]['ssim']:.4f}" for name in names)
            + " |"
            for row in rows
        ),
    ]
    write_results(RESULTS, lines, {"network": title, "rows": rows})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("super_resolution"), help="folder with one folder per set")
    parser.add_argument("--sets", nargs="+", default=SETS, help="names of these folders")
    parser.add_argument("--scales", nargs="+", type=int, default=SCALES)
    parser.add_argument("--model", default="ffnet_sr_nano")
    parser.add_argument(
        "--checkpoint", help="file of a training run, for one scale; by default the weights in the package"
    )
    options = parser.parse_args()
    folders = [options.data / name for name in options.sets if (options.data / name).is_dir()]
    if not folders:
        raise InputError(f"{options.data}: none of {', '.join(options.sets)} in it, expected one folder per set")
    rows = []
    for scale in options.scales:
        upscalers = {
            f"{options.model}, {name}": Upscaler(
                options.model, scale, checkpoint=options.checkpoint, backend="eager", **settings
            )
            for name, settings in FORMS.items()
        }
        rows += [measure_set(folder, scale, upscalers=upscalers) for folder in folders]
    write(options.checkpoint or f"{options.model}, weights of the package", rows, ["bicubic", *upscalers])


if __name__ == "__main__":
    main()
