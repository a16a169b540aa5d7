"""How many of Imagenette's images are in mini-ImageNet, on which the packaged backbone was trained.

    python benchmarks/overlap.py --mini-imagenet mini_imagenet --imagenette imagenette_96

The files of mini-ImageNet have no names of ImageNet, so the pixels are compared: each image in gray at 16x16, and the
correlation with its most similar one. Both data sets hold images that were resized without keeping their proportions.
Writes benchmarks/results/overlap.{json,md} in 20 seconds of CPU time.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from report import write_results
from shared_class import SHARED

RESULTS = Path(__file__).parent / "results/overlap"
SIDE = 16
SAME = 0.99
"""Lowest correlation of two copies of an image; the results show how far the most similar others are below it."""


class Images(NamedTuple):
    """CLASS/FILE of each image, and its gray pixels with mean 0 and norm 1, (N, SIDE * SIDE)."""

    names: list[str]
    pixels: np.ndarray


def read(folder: Path) -> Images:
    """The images of a split, which has a folder for each class."""
    files = sorted(folder.glob("*/*"))
    pixels = np.stack([gray(file) for file in files])
    pixels -= pixels.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(pixels, axis=1, keepdims=True)
    return Images([f"{file.parent.name}/{file.name}" for file in files], pixels / np.maximum(norms, 1e-6))


def gray(file: Path) -> np.ndarray:
    """Pixels of the reduced image, (SIDE * SIDE,)."""
    with Image.open(file) as image:
        reduced = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(reduced, np.float32).ravel()


def nearest(images: Images, others: Images) -> list[tuple[str, str, float]]:
    """Each image, its most similar one of the others, and their correlation."""
    found = []
    for start in range(0, len(images.names), 500):
        correlations = images.pixels[start : start + 500] @ others.pixels.T
        for name, row in zip(images.names[start:], correlations, strict=False):
            best = row.argmax()
            found.append((name, others.names[best], float(row[best])))
    return found


def counts(pairs: list[tuple[str, str, float]]) -> dict:
    """How many pairs are the same image, in and outside the shared class, and the gap around `SAME`."""
    same = [pair for pair in pairs if pair[2] >= SAME]
    outside = [pair for pair in same if not pair[0].startswith(SHARED)]
    return {
        "images": len(pairs),
        f"images of {SHARED}": sum(name.startswith(SHARED) for name, _, _ in pairs),
        f"the same, of {SHARED}": len(same) - len(outside),
        "the same, of other classes": len(outside),
        "pairs of other classes": [f"{name} = {other}" for name, other, _ in outside],
        "lowest correlation of the same": round(min((pair[2] for pair in same), default=1.0), 4),
        "highest of different ones": round(max((pair[2] for pair in pairs if pair[2] < SAME), default=0.0), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mini-imagenet", type=Path, default=Path("mini_imagenet"))
    parser.add_argument("--imagenette", type=Path, default=Path("imagenette_96"))
    options = parser.parse_args()
    splits = ("train", "val")
    others = {split: read(options.mini_imagenet / split) for split in splits}
    rows = {}
    for split in reversed(splits):
        images = read(options.imagenette / split)
        for name, those in others.items():
            rows[f"{split} in mini-ImageNet's {name}"] = counts(nearest(images, those))
    write_results(RESULTS, table(rows), {"rows": rows})


def table(rows: dict[str, dict]) -> list[str]:
    """The counts, and the pairs outside the shared class."""
    found = sum(row[f"the same, of {SHARED}"] for row in rows.values())
    lines = [
        f"Imagenette's images that mini-ImageNet has too: correlation of at least {SAME} in gray at {SIDE}x{SIDE}. "
        f"{found} of {SHARED} in all; mini-ImageNet has 500 and 100 of each class.",
        "",
        f"| Imagenette's | images | the same, of {SHARED} | the same, of other classes "
        "| lowest correlation of the same | highest of different ones |",
        "|---|---|---|---|---|---|",
    ]
    for title, row in rows.items():
        shared = f"{row[f'the same, of {SHARED}']} of {row[f'images of {SHARED}']}"
        values = [row["images"], shared, row["the same, of other classes"], row["lowest correlation of the same"]]
        lines.append(f"| {title} | {' | '.join(map(str, values))} | {row['highest of different ones']} |")
    lines += ["", "Same image in other classes:", ""]
    return [*lines, *(pair for row in rows.values() for pair in row["pairs of other classes"]), ""]


if __name__ == "__main__":
    main()
