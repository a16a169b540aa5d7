"""Images in a few fixed crops each, so that a teacher's output for a crop is computed once and stays right."""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as F

from ...errors import InputError, above_zero, at_least, from_zero_to_one, rising
from ..chance import uniform
from ..preprocessing import Kept, Preprocessing

MOST_VIEWS = 10_000


@dataclass(frozen=True)
class Views(Kept):
    """Random crops, some of them mirrored, that are drawn once.

    Args:
        count: crops of each image; an epoch shows one of them.
        scale: area of a crop, as a fraction of the largest square in the image.
        ratio: aspect of a crop in pixels.
        hflip: probability of a mirror image.
        seed: of the crops.
    """

    count: int = 4
    scale: tuple[float, float] = (0.25, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: float = 0.5
    seed: int = 0

    def __post_init__(self):
        at_least("views.count", self.count, 1)
        if self.count > MOST_VIEWS:
            raise InputError(f"views.count {self.count}, expected at most {MOST_VIEWS}")
        for name in ("scale", "ratio"):
            above_zero(f"views.{name}", *getattr(self, name))
            rising(f"views.{name}", getattr(self, name))
        from_zero_to_one("views.hflip", self.hflip)

    def draw(self, images: int) -> np.ndarray:
        """(images * count, 5) float32: left, upper, right, lower as fractions of a square image, and 1 for mirrored."""
        chance = np.random.default_rng(self.seed)
        number = images * self.count
        area = chance.uniform(*self.scale, number)
        aspect = np.exp(chance.uniform(*np.log(self.ratio), number))
        width, height = (np.minimum(np.sqrt(side), 1.0) for side in (area * aspect, area / aspect))
        left, upper = chance.uniform(size=number) * (1 - width), chance.uniform(size=number) * (1 - height)
        mirrored = chance.uniform(size=number) < self.hflip
        return np.stack([left, upper, left + width, upper + height, mirrored], axis=1).astype(np.float32)


class ViewedImages(Dataset):
    """Images of a data set, each in one of its crops: (image, label, number of the view).

    Args:
        images: a data set that gives (Pillow image, label).
        crops: as `Views.draw` gives them.
        count: crops of each image.
    """

    def __init__(self, images: Dataset, crops: np.ndarray, *, count: int, preprocessing: Preprocessing):
        self.images = images
        self.crops = crops
        self.count = count
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        image, label = self.images[index]
        view = index * self.count + uniform(0, self.count - 1)
        return self.view(image, self.crops[view]), label, view

    def view(self, image: Image.Image, crop: np.ndarray) -> Tensor:
        """A crop of an image -> (C, size, size), normalised."""
        size = self.preprocessing.size
        resample = Image.Resampling[self.preprocessing.interpolation.upper()]
        image = image.resize((size, size), resample, box=box_of(crop, image.size))
        if crop[4]:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return F.normalize(
            F.to_dtype(F.pil_to_tensor(image), scale=True), list(self.preprocessing.mean), list(self.preprocessing.std)
        )


def box_of(crop: np.ndarray, size: tuple[int, int]) -> tuple[float, ...]:
    """A crop, as fractions of a square, in an image of another size: left, upper, right, lower in pixels.

    Its sides are those in the largest square, so that nothing is squashed; its place is one in the whole image.
    """
    start, sides = crop[:2].astype(float), (crop[2:4] - crop[:2]).astype(float)
    free = 1 - sides
    place = np.where(free > 1e-6, np.clip(start / np.maximum(free, 1e-6), 0, 1), 0.5)
    lengths = sides * min(size)
    begin = place * (np.array(size) - lengths)
    return (*begin, *np.minimum(begin + lengths, size))
