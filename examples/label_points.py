"""Train a point segmenter on small farms that this file builds, and label and draw one that it has not seen.

    python examples/label_points.py --out runs/farm.png --minutes 4

Needs no download. The points have no colors: their places alone tell ground, walls, roofs, trees and fences apart.
"""

import argparse
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import yaml

import metamixer
from metamixer.system.files import write_png

CLASSES = ("ground", "wall", "roof", "tree", "fence")
SIDE = 24.0  # meters
DENSITY = 5  # points per square meter


class Farm:
    """The points of a farm and their classes; every seed is another farm."""

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)
        self.parts: list[tuple[np.ndarray, int]] = []
        count = int(SIDE**2 * DENSITY)
        self.add("ground", np.c_[self.random.uniform(0, SIDE, (count, 2)), np.zeros(count)])
        corners = self.random.permutation([(2, 2), (13, 2), (2, 13), (13, 13)]) + self.random.uniform(0, 2, (4, 2))
        for corner in corners[:2]:
            self.add_house(corner)
        for place in np.concatenate([corners[2:] + 2, corners[2:] + np.array([6, 5])]):
            self.add_tree(place)
        self.add_fence()

    def add(self, name: str, points: np.ndarray, place: Sequence[float] = (0, 0)) -> None:
        noise = self.random.normal(0, 0.03, points.shape)
        self.parts.append((points + np.array([*place, 0]) + noise, CLASSES.index(name)))

    def add_house(self, place: np.ndarray) -> None:
        width, depth, height = self.random.uniform((5, 6, 2.5), (8, 8, 4))
        corners = [(0, 0), (width, 0), (width, depth), (0, depth), (0, 0)]
        for start, end in pairwise(np.array(corners)):
            along = self.random.uniform(0, 1, (int((width + depth) / 2 * height * DENSITY), 1))
            wall = start + along * (end - start)
            self.add("wall", np.c_[wall, self.random.uniform(0, height, len(wall))], place)
        across, along = self.random.uniform(0, 1, (2, int(width * depth * DENSITY)))
        ridge = height + (1 - np.abs(2 * across - 1)) * width / 3
        self.add("roof", np.c_[across * width, along * depth, ridge], place)

    def add_tree(self, place: np.ndarray) -> None:
        height, radius = self.random.uniform((3, 1), (7, 2.2))
        trunk = np.c_[self.random.normal(0, 0.1, (60, 2)), self.random.uniform(0, height, 60)]
        crown = self.random.normal((0, 0, height), radius / 2, (int(radius**2 * DENSITY * 20), 3))
        self.add("tree", np.concatenate([trunk, crown]), place)

    def add_fence(self) -> None:
        count = int(4 * SIDE * DENSITY)
        turn, along = self.random.integers(0, 4, count), self.random.uniform(0, SIDE, count)
        x = np.choose(turn, [along, along, np.zeros(count), np.full(count, SIDE)])
        y = np.choose(turn, [np.zeros(count), np.full(count, SIDE), along, along])
        self.add("fence", np.c_[x, y, self.random.uniform(0, 1.2, count)])

    def save(self, path: Path) -> Path:
        """Write an NPZ of coordinates and labels."""
        points = np.concatenate([points for points, _ in self.parts]).astype(np.float32)
        labels = np.concatenate([np.full(len(points), label) for points, label in self.parts])
        np.savez(path, coord=points, label=labels)
        return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/farm.png"), help="file for the picture")
    parser.add_argument("--farms", type=int, default=25, help="number of farms to train and validate on")
    parser.add_argument("--minutes", type=float, default=4, help="length of the training")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        farms = Path(folder, "farms")
        farms.mkdir()
        (farms / "clouds.yaml").write_text(yaml.safe_dump({"classes": list(CLASSES)}))
        for seed in range(options.farms):
            Farm(seed).save(farms / f"{seed}.npz")
        run = metamixer.train(farms, out=Path(folder, "run"), minutes=options.minutes)
        unseen = Farm(100).save(Path(folder, "unseen.npz"))
        found = run.predictor(unseen)
        correct = float(np.mean(np.asarray(found) == np.load(unseen)["label"]))
        write_png(options.out, found.draw())
    print(f"{100 * correct:.1f} % of {len(found):,} points of an unseen farm: {options.out}")


if __name__ == "__main__":
    main()
