"""PSNR and SSIM of the weights in the package, or of a checkpoint, on Set5, Set14, B100, Urban100, Manga109: one row a
set and a scale.

    python benchmarks/super_resolution.py --data super_resolution

`--data` holds a folder for each set with its large images in HR and, where they are given, the small ones in
LR_bicubic/X2, X3, X4; those that are missing are made by our bicubic, which is MATLAB's. Sets that are not there are
left out. Writes benchmarks/results/super_resolution.{json,md}.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import numpy as np
from trainings import write_results

from metamixer import Upscaler
from metamixer.data.super_resolution.pairs import ImagePairs
from metamixer.data.super_resolution.quality import psnr, ssim
from metamixer.data.super_resolution.resizing import imresize
from metamixer.errors import InputError
from metamixer.models.ffnet_sr import SCALES
from metamixer.system.machine import describe_machine

RESULTS = Path(__file__).parent / "results/super_resolution"
SETS = ("Set5", "Set14", "B100", "Urban100", "Manga109")


def measure(pairs: ImagePairs, enlarge: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
    """Mean PSNR in dB and SSIM over a set, on brightness, without a border of `scale` pixels."""
    images = [(enlarge(small), large) for small, large in (pairs.pair(i) for i in range(len(pairs)))]
    return {
        name: mean(quality(restored, large, border=pairs.scale) for restored, large in images)
        for name, quality in (("psnr", psnr), ("ssim", ssim))
    }


def measure_set(folder: Path, scale: int, *, upscalers: dict[str, Upscaler]) -> dict:
    """Bicubic and each upscaler on one set at one scale."""
    small = folder / f"LR_bicubic/X{scale}"
    made = ImagePairs([folder / "HR"], scale=scale)
    pairs = ImagePairs([folder / "HR"], small, scale=scale) if small.is_dir() else made
    equal = sum(np.array_equal(pairs.pair(i)[0], made.pair(i)[0]) for i in range(len(pairs)))
    ways = {"bicubic": lambda image: imresize(image, scale), **upscalers}
    qualities = {name: measure(pairs, way) for name, way in ways.items()}
    return {"set": folder.name, "scale": scale, "images": len(pairs), "equal": equal, **qualities}


def write(title: str, rows: list[dict], names: list[str]) -> None:
    """The result as JSON and as a table."""
    lines = [
        f"PSNR in dB / SSIM on Y of {title}; small images as given, else by our bicubic; equal: those that ours "
        "makes too.",
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
    parser.add_argument("--data", type=Path, default=Path("super_resolution"), help="folder with a folder for each set")
    parser.add_argument("--sets", nargs="+", default=SETS, help="names of those folders")
    parser.add_argument("--scales", nargs="+", type=int, default=SCALES)
    parser.add_argument("--model", default="ffnet_sr_nano")
    parser.add_argument(
        "--checkpoint", help="a file of a training run, of one scale; without it the weights in the package"
    )
    options = parser.parse_args()
    folders = [options.data / name for name in options.sets if (options.data / name).is_dir()]
    if not folders:
        raise InputError(f"{options.data}: none of {', '.join(options.sets)} in it, expected a folder for each set")
    rows = []
    for scale in options.scales:
        upscalers = {
            f"{options.model}, {precision}": Upscaler(
                options.model, scale, checkpoint=options.checkpoint, backend="eager", precision=precision
            )
            for precision in ("fp32", "bf16")
        }
        rows += [measure_set(folder, scale, upscalers=upscalers) for folder in folders]
    write(options.checkpoint or f"{options.model}, weights of the package", rows, ["bicubic", *upscalers])


if __name__ == "__main__":
    main()
