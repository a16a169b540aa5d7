"""What happens to a photograph between the scene and the file: blur, resizing, noise, JPEG.

A step is a function (pixels, random) -> pixels of the same shape. Pixels are (H, W, C) float32, white = 1, and may
leave [0, 1]; random is a NumPy generator, the only source of chance.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from torchvision.transforms.functional import gaussian_blur

Step = Callable[[np.ndarray, np.random.Generator], np.ndarray]

SUBSAMPLINGS = (0, 2)
"""Pillow's numbers for 4:4:4 and 4:2:0, the subsamplings of color that encoders use most."""

FILTERS = ("bilinear", "bicubic", "area")
"""PyTorch's filters for reducing an image; the first two antialiased."""


def unchanged(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """No degradation."""
    return pixels


@dataclass(frozen=True)
class Noise:
    """Independent Gaussian noise; std: range, of 255."""

    std: tuple[float, float]

    def __call__(self, pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        std = random.uniform(*self.std) / 255
        return pixels + std * random.standard_normal(pixels.shape, dtype=np.float32)


@dataclass(frozen=True)
class CameraNoise:
    """Noise of a sensor, stronger in bright pixels, smoothed as demosaicing does.

    read, shot: ranges of the std in black, and of what white adds to it, of 255.
    """

    read: tuple[float, float] = (0, 12)
    shot: tuple[float, float] = (0, 25)
    smoothing: tuple[float, float] = (0.0, 0.8)

    def __call__(self, pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        read, shot = (random.uniform(*span) / 255 for span in (self.read, self.shot))
        noise = random.standard_normal(pixels.shape, dtype=np.float32)
        smooth = Blur(self.smoothing)(noise, random)
        noise = smooth / max(float(smooth.std()), 1e-6)
        return pixels + noise * np.sqrt(read**2 + shot**2 * pixels.clip(0, 1)).astype(np.float32)


@dataclass(frozen=True)
class Blur:
    """Gaussian blur; std: range, in pixels."""

    std: tuple[float, float]

    def __call__(self, pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        std = random.uniform(*self.std)
        side = 2 * int(np.ceil(3 * std)) + 1
        if side == 1 or side // 2 >= min(pixels.shape[:2]):
            return pixels
        image = torch.from_numpy(pixels).permute(2, 0, 1)
        return gaussian_blur(image, [side, side], [std, std]).permute(1, 2, 0).numpy()


@dataclass(frozen=True)
class Jpeg:
    """Saving as JPEG by Pillow; quality: range, both included. Pixels are rounded to 8 bits first."""

    quality: tuple[int, int]
    subsamplings: Sequence[int] = SUBSAMPLINGS

    def __call__(self, pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        quality = int(random.integers(self.quality[0], self.quality[1] + 1))
        subsampling = int(random.choice(self.subsamplings))
        rounded = (pixels * 255).round().clip(0, 255).astype(np.uint8)
        gray = pixels.shape[2] == 1
        file = io.BytesIO()
        image = Image.fromarray(rounded[:, :, 0] if gray else rounded)
        image.save(file, "JPEG", quality=quality, subsampling=-1 if gray else subsampling)
        return np.asarray(Image.open(file), np.float32).reshape(pixels.shape) / 255


@dataclass(frozen=True)
class OneOf:
    """One of the steps, drawn with these weights."""

    steps: Sequence[Step]
    weights: Sequence[float]

    def __call__(self, pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        weights = np.asarray(self.weights) / sum(self.weights)
        return self.steps[int(random.choice(len(self.steps), p=weights))](pixels, random)


@dataclass(frozen=True)
class InOrder:
    """All steps, one after the other."""

    steps: Sequence[Step]

    def __call__(self, pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        for step in self.steps:
            pixels = step(pixels, random)
        return pixels


@dataclass(frozen=True)
class Shuffled(InOrder):
    """All steps, in random order."""

    def __call__(self, pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        order = random.permutation(len(self.steps))
        return InOrder([self.steps[place] for place in order])(pixels, random)


def sometimes(step: Step, probability: float) -> Step:
    """The step with this probability, else nothing."""
    return OneOf([step, unchanged], [probability, 1 - probability])


@dataclass(frozen=True)
class Degradation:
    """Steps on the large image, resizing by a random filter, steps on the small one."""

    small: Step
    large: Step = unchanged

    def __call__(self, pixels: np.ndarray, *, scale: int, random: np.random.Generator) -> np.ndarray:
        """(scale * H, scale * W, C) -> (H, W, C), not clipped."""
        return self.small(reduced(self.large(pixels, random), scale, random), random)


def reduced(pixels: np.ndarray, scale: int, random: np.random.Generator) -> np.ndarray:
    """The image with its sides divided by `scale`, by one of `FILTERS`."""
    if scale == 1:
        return pixels
    height, width = (side // scale for side in pixels.shape[:2])
    image = torch.from_numpy(pixels[: height * scale, : width * scale]).permute(2, 0, 1)[None]
    kind = str(random.choice(FILTERS))
    settings = {} if kind == "area" else {"antialias": True}
    return F.interpolate(image, (height, width), mode=kind, **settings)[0].permute(1, 2, 0).numpy()


_ANY_NOISE = OneOf([Noise((0, 55)), CameraNoise()], [0.7, 0.3])
_ANY_JPEG = OneOf([Jpeg((5, 45)), Jpeg((40, 95))], [0.7, 0.3])
_PHOTOGRAPH_NOISE = OneOf([CameraNoise((0, 6), (0, 12)), _ANY_NOISE], [0.75, 0.25])
_TWICE = InOrder([sometimes(Jpeg((40, 95)), 0.3), Jpeg((30, 95))])
_PHOTOGRAPH = InOrder(
    [
        Shuffled([sometimes(_PHOTOGRAPH_NOISE, 0.5), sometimes(Jpeg((60, 95)), 0.2)]),
        sometimes(OneOf([Jpeg((30, 95)), Jpeg((8, 40))], [0.85, 0.15]), 0.85),
    ]
)

DEGRADATIONS: dict[str, Degradation] = {
    "noise_or_jpeg": Degradation(OneOf([Noise((0, 55)), _ANY_JPEG, unchanged], [0.48, 0.48, 0.04])),
    "noise_and_jpeg": Degradation(
        OneOf([_ANY_NOISE, _ANY_JPEG, Shuffled([CameraNoise(), _TWICE]), unchanged], [0.4, 0.35, 0.15, 0.1])
    ),
    "photograph": Degradation(large=sometimes(Blur((0.2, 1.0)), 0.5), small=_PHOTOGRAPH),
    "photograph_or_jpeg": Degradation(
        large=sometimes(Blur((0.2, 1.0)), 0.3),
        small=OneOf([_PHOTOGRAPH, Jpeg((40, 95)), _ANY_NOISE, unchanged], [0.45, 0.3, 0.2, 0.05]),
    ),
    **{f"noise_{std}": Degradation(Noise((std, std))) for std in (15, 25, 50)},
    **{f"jpeg_{quality}": Degradation(Jpeg((quality, quality), (2,))) for quality in (10, 20, 40, 75)},
}
"""By name: four for training, and fixed ones for evaluation (Gaussian noise of a std of 255; JPEG of a quality)."""
