"""Augmentation of point clouds."""

import math
from dataclasses import dataclass, replace

import numpy as np

from ...errors import above_zero, at_least, from_zero_to_one, rising
from .clouds import Cloud


@dataclass(frozen=True)
class PointAugmentation:
    """Random changes of a training cloud; the defaults are close to the published ones for rooms (docs/points.md).

    turn: maximum angle around the vertical axis, tilt: around the other two, as fractions of a half turn; turn_chance:
    probability of each of the three; scale: range of factors; flip: probability of a mirror, in x and in y; jitter,
    jitter_limit: std and limit in meters of noise on each coordinate; drop: fraction of points left out, with
    probability drop_chance; contrast, colour_shift, colour_jitter: probabilities of stretching the colors to the whole
    range, of one shift of all colors by up to 5 %, and of noise of that size; crop: number of voxels kept, those
    nearest to a random point, None for all; mix: probability of adding a second scene (Mix3D, Nekrasov et al., 2021).
    """

    turn: float = 1.0
    tilt: float = 1 / 64
    turn_chance: float = 0.5
    scale: tuple[float, float] = (0.9, 1.1)
    flip: float = 0.5
    jitter: float = 0.005
    jitter_limit: float = 0.02
    drop: float = 0.2
    drop_chance: float = 0.2
    contrast: float = 0.2
    colour_shift: float = 0.95
    colour_jitter: float = 0.95
    crop: int | None = 102_400
    mix: float = 0.8

    def __post_init__(self):
        above_zero("augmentation.scale", *self.scale)
        rising("augmentation.scale", self.scale)
        if self.crop is not None:
            above_zero("augmentation.crop", self.crop)
        for name in ("jitter", "jitter_limit"):
            at_least(f"augmentation.{name}", getattr(self, name), 0)
        for name in ("turn_chance", "flip", "drop", "drop_chance", "contrast", "colour_shift", "colour_jitter", "mix"):
            from_zero_to_one(f"augmentation.{name}", getattr(self, name))

    def __call__(self, cloud: Cloud, random: np.random.Generator) -> Cloud:
        """Return an augmented copy."""
        if self.drop > 0 and random.random() < self.drop_chance:
            kept = np.flatnonzero(random.random(len(cloud)) >= self.drop)
            cloud = cloud.take(kept) if len(kept) else cloud  # a tiny cloud could lose every point
        turned = random.random(3) < self.turn_chance
        shares = random.uniform(-1, 1, 3) * turned * (self.tilt, self.tilt, self.turn)
        *tilts, turn = (rotation(share, axis=axis) for axis, share in enumerate(shares))
        mirror = np.diag([*np.where(random.random(2) < self.flip, -1.0, 1.0), 1.0])
        matrix = mirror @ tilts[1] @ tilts[0] @ turn
        noise = np.clip(random.normal(0, self.jitter, cloud.coordinates.shape), -self.jitter_limit, self.jitter_limit)
        coordinates = cloud.coordinates @ matrix.T * random.uniform(*self.scale) + noise
        normals = None if cloud.normals is None else (cloud.normals @ matrix.T).astype(np.float32)
        colours = None if cloud.colours is None else self.recolour(cloud.colours, random)
        return replace(cloud, coordinates=coordinates, normals=normals, colours=colours)

    def recolour(self, colours: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """colours: (N, 3) from 0 to 255 -> the same."""
        if random.random() < self.contrast:
            low, high = colours.min(axis=0, keepdims=True), colours.max(axis=0, keepdims=True)
            share = random.random()
            colours = (1 - share) * colours + share * (colours - low) * 255 / np.maximum(high - low, 1)
        if random.random() < self.colour_shift:
            colours = colours + (random.random((1, 3)) - 0.5) * 0.1 * 255
        if random.random() < self.colour_jitter:
            colours = colours + random.normal(0, 0.05 * 255, colours.shape)
        return np.clip(colours, 0, 255).astype(np.float32)


def rotation(share: float, *, axis: int) -> np.ndarray:
    """The matrix (3, 3) of a rotation around an axis, by `share` of a half turn."""
    cosine, sine = math.cos(share * math.pi), math.sin(share * math.pi)
    first, second = [i for i in range(3) if i != axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix


def joined(first: Cloud, second: Cloud, *, centred: bool = True) -> Cloud:
    """Merge two clouds, centered on each other or at their coordinates; keeps the attributes that both have."""
    ours, theirs = ((cloud.centred() if centred else cloud).arrays() for cloud in (first, second))
    return Cloud(**{name: np.concatenate([value, theirs[name]]) for name, value in ours.items() if name in theirs})


def nearest(coordinates: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """The rows, sorted, of the `count` points nearest to a random point."""
    if len(coordinates) <= count:
        return np.arange(len(coordinates))
    distances = np.square(coordinates - coordinates[random.integers(len(coordinates))]).sum(axis=1)
    return np.sort(np.argpartition(distances, count)[:count])
