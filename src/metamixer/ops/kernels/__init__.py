"""Triton kernels of depthwise convolutions: forward, backward, with GELU, with batch norms merged into the weights."""

import importlib.util
import os

import torch
from torch import Tensor

from . import measured

SWITCH = "METAMIXER_KERNELS"
"""Environment variable. off: `accelerate` changes nothing; fit: `fit` accelerates its networks too; always: for every
supported size, even if PyTorch was measured to be faster.
"""

INTERPRETED = False
"""Run kernels in Triton's interpreter on the CPU; tests set it and `TRITON_INTERPRET=1` before importing the operators.
"""

TYPES = (torch.float32, torch.bfloat16, torch.float16)
LARGEST_FOR_WINDOWS = (9, 65)
"""Rows and columns of a kernel; windows of larger ones don't fit in shared memory."""

LARGEST_FOR_ROWS = (65, 31)
"""Rows and columns of a kernel for channels-last images; more pixels of a row don't fit in registers."""

FEWEST_POSITIONS = 2**13
"""Minimum positions of a batch for the kernels; fewer leave most of a GPU idle. Not measured."""

MOST_ELEMENTS = 2**31
"""Maximum elements of a tensor, because offsets within a tile of images are 32-bit."""


def available() -> bool:
    """Whether Triton is installed and a GPU, or Triton's interpreter, is available."""
    if os.environ.get(SWITCH) == "off" or importlib.util.find_spec("triton") is None:
        return False
    return INTERPRETED or torch.cuda.is_available()


def used_by_fit() -> bool:
    """Whether `fit` accelerates its networks; on request only, as no measured training was faster."""
    return os.environ.get(SWITCH) == "fit"


def takes(x: Tensor, kernel: tuple[int, int]) -> bool:
    """Whether to use the kernels for an input (B, C, H, W) and a kernel size; the only place of this decision."""
    if not fits(kernel, LARGEST_FOR_WINDOWS) and not fits(kernel, LARGEST_FOR_ROWS):
        return False
    if INTERPRETED:
        return x.device.type == "cpu"
    positions = x.shape[0] * x.shape[2] * x.shape[3]
    large = positions >= FEWEST_POSITIONS and x.numel() < MOST_ELEMENTS
    return x.is_cuda and x.dtype in TYPES and large and measured.pays(form_for(x, kernel), kernel, x.shape[2:])


def form_for(x: Tensor, kernel: tuple[int, int]) -> str:
    """Which kernels compute a depthwise convolution of x: `rows` of channels-last images, or `windows`."""
    last = is_channels_last(x) or not fits(kernel, LARGEST_FOR_WINDOWS)
    return "rows" if last and fits(kernel, LARGEST_FOR_ROWS) else "windows"


def fits(kernel: tuple[int, int], largest: tuple[int, int]) -> bool:
    """Whether a kernel is at most as large."""
    return kernel[0] <= largest[0] and kernel[1] <= largest[1]


def is_channels_last(x: Tensor) -> bool:
    """Whether x (B, C, H, W) is dense with neighboring channels side by side: input of `rows`, others of `windows`."""
    _, channels, height, width = x.shape
    return channels > 1 and x.stride() == (channels * height * width, 1, channels * width, channels)
