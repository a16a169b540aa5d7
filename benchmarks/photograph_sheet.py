"""A blind sheet of ten photographs: spoiled, then enlarged x2 by bicubic, by our weights and by Real-ESRGAN.

    python benchmarks/photograph_sheet.py --out runs/photograph_sheet

The photographs are those of scikit-image and scikit-learn at half their size, two of each kind: as PNG, as JPEG of
quality 30 and 60, with noise, and at night (darkened, with a camera's noise, as JPEG of quality 90). `--out` gets
sheet.png, whose columns are in random order, row by row, and key.json, which says which is which: look first. Each way
enlarges the whole photograph, and the sheet shows a detail; Real-ESRGAN, the slowest, gets the detail and a margin.

`--real_esrgan FILE` adds Real-ESRGAN (benchmarks/real_esrgan.py says where to get it). `--named FILE` also writes a
sheet with names, for the documentation. Writes benchmarks/results/photograph_sheet.{json,md}: the PSNR of the details.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from report import write_results
from skimage import data
from sklearn.datasets import load_sample_image

from metamixer import Restorer, Upscaler
from metamixer.data.images.lossless import read_picture
from metamixer.data.restoration.degradation import CameraNoise, Noise
from metamixer.data.super_resolution.quality import psnr
from metamixer.data.super_resolution.resizing import crop_to_multiple, imresize
from metamixer.system.files import write_picture, write_png, write_text

RESULTS = Path(__file__).parent / "results/photograph_sheet"
SCALE, SIDE = 2, 160
"""Enlargement, and the side in pixels of the details shown."""

MARGIN = 8
"""Pixels around a detail that Real-ESRGAN also sees, at the small size."""

EXPOSURE = 0.25
"""Of a photograph at night; the sheet shows its columns brightened again."""

PHOTOGRAPHS: dict[str, tuple[Callable[[], np.ndarray], tuple[int, int]]] = {
    "astronaut": (data.astronaut, (40, 130)),
    "cameraman": (data.camera, (60, 150)),
    "cat": (data.chelsea, (60, 120)),
    "coffee": (data.coffee, (90, 230)),
    "rocket": (data.rocket, (40, 240)),
    "motorcycle": (lambda: data.stereo_motorcycle()[0], (180, 280)),
    "galaxies": (lambda: data.hubble_deep_field()[:400, :500], (40, 40)),
    "gravel": (data.gravel, (160, 160)),
    "china": (lambda: load_sample_image("china.jpg"), (110, 250)),
    "flower": (lambda: load_sample_image("flower.jpg"), (100, 240)),
}
"""Name -> the photograph, and the top left corner of its detail, even and at least SCALE * MARGIN."""


@dataclass(frozen=True)
class Kind:
    """How a photograph is spoiled: a step on its pixels, and the suffix and options of the file that it is saved as."""

    spoil: Callable[[np.ndarray, np.random.Generator], np.ndarray] = lambda pixels, random: pixels
    suffix: str = ".png"
    quality: int | None = None
    exposure: float = 1.0

    def save(self, small: np.ndarray, path: Path, random: np.random.Generator) -> Path:
        """Write (H, W, C) uint8, spoiled, and return the file's path."""
        pixels = self.spoil(small.astype(np.float32) / 255 * self.exposure, random)
        rounded = (pixels * 255).round().clip(0, 255).astype(np.uint8)
        file = path.with_suffix(self.suffix)
        Image.fromarray(rounded[:, :, 0] if rounded.shape[2] == 1 else rounded).save(
            file, **({} if self.quality is None else {"quality": self.quality})
        )
        return file


KINDS = {
    "png": Kind(),
    "jpeg_30": Kind(suffix=".jpg", quality=30),
    "jpeg_60": Kind(suffix=".jpg", quality=60),
    "noise": Kind(Noise((15, 15))),
    "night": Kind(CameraNoise((3, 3), (8, 8)), ".jpg", 90, EXPOSURE),
}

Details = dict[str, np.ndarray]
"""Title of a way to enlarge -> its detail, (SIDE, SIDE, C) uint8."""


class Ways:
    """Ways to enlarge a file; real_esrgan: its file of weights, or None; strength: of the restorer, None: estimated."""

    def __init__(self, real_esrgan: Path | None, strength: float | None):
        self.clean = Upscaler.load(scale=SCALE)
        self.photo = Restorer.load(scale=SCALE, strength=strength)
        self.real_esrgan = None
        if real_esrgan:
            from real_esrgan import RealESRGAN

            self.real_esrgan = RealESRGAN(real_esrgan)

    def enlarge(self, file: Path, corner: tuple[int, int]) -> tuple[Details, str]:
        """The detail with this top left corner in each way, and what the restorer found in the file."""
        picture = read_picture(file)
        treatment = self.photo.treatment(picture)
        details = {
            "bicubic": detail_of(imresize(picture.colour, SCALE), corner),
            "clean weights": detail_of(self.clean.treatment(picture).change(picture.colour), corner),
            "photo weights": detail_of(treatment.change(picture.colour), corner),
        }
        if self.real_esrgan:
            top, left = (side // SCALE - MARGIN for side in corner)
            seen = picture.colour[top:, left:][: SIDE // SCALE + 2 * MARGIN, : SIDE // SCALE + 2 * MARGIN]
            details["Real-ESRGAN"] = detail_of(self.real_esrgan(seen), (SCALE * MARGIN, SCALE * MARGIN))
        about = treatment.about
        return details, f"{about['estimate']}, strength {about['strength']:.2f}"


def detail_of(image: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    """The square of SIDE pixels with this top left corner."""
    top, left = corner
    return image[top : top + SIDE, left : left + SIDE]


def sheet(rows: Sequence[tuple[str, Sequence[np.ndarray]]], titles: Sequence[str]) -> Image.Image:
    """Details in rows, each with its name, below the titles of the columns."""
    name_width, step = 90, SIDE + 4
    image = Image.new("RGB", (name_width + len(titles) * step, 20 + len(rows) * step), "white")
    draw = ImageDraw.Draw(image)
    for column, title in enumerate(titles):
        draw.text((name_width + column * step + SIDE // 2, 10), title, "black", anchor="mm")
    for row, (name, details) in enumerate(rows):
        top = 20 + row * step
        draw.text((name_width // 2, top + SIDE // 2), name, "black", anchor="mm", align="center")
        for column, detail in enumerate(details):
            gray = detail[:, :, 0] if detail.shape[2] == 1 else detail
            image.paste(Image.fromarray(gray), (name_width + column * step, top))
    return image


def shown(detail: np.ndarray, kind: Kind) -> np.ndarray:
    """A detail as the sheet shows it: one at night brightened again."""
    return (detail / kind.exposure).round().clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Row:
    """A photograph of the sheet; details: as shown; psnr: in dB of each detail; found: by the restorer in the file."""

    name: str
    kind: str
    details: Details
    psnr: dict[str, float]
    found: str


def enlarge_all(ways: Ways, out: Path) -> list[Row]:
    """The rows of the sheet; the spoiled photographs are kept in `out`."""
    rows = []
    for number, (name, (read, corner)) in enumerate(PHOTOGRAPHS.items()):
        kind = list(KINDS)[number % len(KINDS)]
        original = crop_to_multiple(np.atleast_3d(read()), SCALE)
        file = KINDS[kind].save(imresize(original, 1 / SCALE), out / f"{name}_{kind}", np.random.default_rng(number))
        details, found = ways.enlarge(file, corner)
        exact = (detail_of(original, corner) * KINDS[kind].exposure).round().astype(np.uint8)
        quality = {way: psnr(detail, exact, border=0) for way, detail in details.items()}
        visible = {way: shown(detail, KINDS[kind]) for way, detail in details.items()}
        rows.append(Row(name, kind, visible, quality, found))
        print(f"{name}, {kind}: {found}; {', '.join(f'{way} {dB:.2f} dB' for way, dB in quality.items())}", flush=True)
    return rows


def write_blind(rows: Sequence[Row], out: Path, seed: int) -> None:
    """The sheet with columns in random order, and the key to it."""
    random = np.random.default_rng(seed)
    orders = {row.name: [str(way) for way in random.permutation(list(row.details))] for row in rows}
    lines = [(row.name, [row.details[way] for way in orders[row.name]]) for row in rows]
    write_png(out / "sheet.png", sheet(lines, "ABCD"[: len(rows[0].details)]))
    write_text(out / "key.json", json.dumps(orders, indent=1))


def write_named(rows: Sequence[Row], file: Path) -> None:
    """The first photograph of each kind, with the names of the ways."""
    lines = [(f"{row.name}\n{row.kind.replace('_', ' ')}", list(row.details.values())) for row in rows[: len(KINDS)]]
    write_picture(file, sheet(lines, list(rows[0].details)))


def write(rows: Sequence[Row]) -> None:
    """Write each photograph's PSNR as JSON and as a table."""
    ways = list(rows[0].details)
    lines = [
        f"PSNR in dB (Y) of details of {SIDE} x {SIDE} pixels of photographs, spoiled and enlarged x{SCALE}. At night, "
        "the original is as dark as the image.",
        "",
        f"| photograph | spoiled | {' | '.join(ways)} | found |",
        f"|---|---{'|---' * len(ways)}|---|",
        *(
            f"| {row.name} | {row.kind.replace('_', ' ')} | {' | '.join(f'{row.psnr[way]:.2f}' for way in ways)} | "
            f"{row.found} |"
            for row in rows
        ),
    ]
    content = [{"name": row.name, "kind": row.kind, "psnr": row.psnr, "found": row.found} for row in rows]
    write_results(RESULTS, lines, {"rows": content})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/photograph_sheet"), help="folder for the sheet and key")
    parser.add_argument("--real_esrgan", type=Path, help="its file of weights")
    parser.add_argument("--strength", type=float, help="of the restorer; its results are printed, not stored")
    parser.add_argument("--named", type=Path, help="also write a sheet with names into this file")
    parser.add_argument("--seed", type=int, default=0, help="of the order of columns")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = enlarge_all(Ways(options.real_esrgan, options.strength), options.out)
    write_blind(rows, options.out, options.seed)
    if options.strength is None:
        write(rows)
    if options.named:
        write_named(rows, options.named)


if __name__ == "__main__":
    main()
