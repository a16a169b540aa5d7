"""The geometric self-ensemble: a network's mean over mirrored and turned images (Timofte et al. 2016, section 3.6)."""

from collections.abc import Callable

from torch import Tensor

from ..errors import InputError

ENSEMBLES = (1, 2, 4, 8)
"""Sizes of the ensemble: the image alone; mirrored as well; upside down too; turned by 90 degrees too."""

Symmetry = Callable[[Tensor], Tensor]


def check_ensemble(size: int | None) -> None:
    """Raise InputError for a size that isn't one of `ENSEMBLES`; None: the default."""
    if size not in (None, *ENSEMBLES):
        raise InputError(f"ensemble {size!r}, expected one of {', '.join(map(str, ENSEMBLES))}")


def mean_over_symmetries(network: Callable[[Tensor], Tensor], image: Tensor, size: int) -> Tensor:
    """(B, C, H, W) -> (B, C', scale * H, scale * W); size: one of `ENSEMBLES`."""
    return sum(back(network(there(image))) for there, back in SYMMETRIES[:size]) / size


def _mirrored(image: Tensor) -> Tensor:
    return image.flip(3)


def _upside_down(image: Tensor) -> Tensor:
    return image.flip(2)


def _half_turned(image: Tensor) -> Tensor:
    return image.flip(2, 3)


def _transposed(symmetry: Symmetry) -> tuple[Symmetry, Symmetry]:
    """A symmetry followed by a transposition, and its inverse."""
    return lambda image: symmetry(image).transpose(2, 3), lambda image: symmetry(image.transpose(2, 3))


_UPRIGHT: tuple[Symmetry, ...] = (lambda image: image, _mirrored, _upside_down, _half_turned)
SYMMETRIES = (*((each, each) for each in _UPRIGHT), *map(_transposed, _UPRIGHT))
"""The eight symmetries of the square, each with its inverse."""
