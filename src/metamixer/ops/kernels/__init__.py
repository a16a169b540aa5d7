"""Depthwise convolutions on GPUs in Triton: forward, backward, with GELU, with batch norms merged into their
weights.
"""

import importlib.util
import os

import torch
from torch import Tensor

SWITCH = "METAMIXER_KERNELS"
"""Environment variable; `off`: `accelerate` changes nothing."""

INTERPRETED = False
"""Triton runs kernels in Python, on the CPU: tests set it, together with `TRITON_INTERPRET=1`, before they import the
operators.
"""

TYPES = (torch.float32, torch.bfloat16, torch.float16)
LARGEST_KERNEL = (9, 65)
"""Rows and columns: of larger ones the windows don't fit the memory beside the tensor cores."""

FEWEST_POSITIONS = 2**13
"""Of the batch's images together, from which on the kernels are chosen; fewer leave most of a GPU idle. Not
measured.
"""

MOST_ELEMENTS = 2**31
"""Of a tensor: offsets within a tile of images are 32-bit numbers."""


def available() -> bool:
    """Triton is installed, and a GPU is here or Triton's interpreter stands in for one."""
    if os.environ.get(SWITCH) == "off" or importlib.util.find_spec("triton") is None:
        return False
    return INTERPRETED or torch.cuda.is_available()


def takes(x: Tensor, kernel: tuple[int, int]) -> bool:
    """Are the kernels the right choice for an input (B, C, H, W) and a kernel of this size? The only place that
    chooses.
    """
    if any(size > largest for size, largest in zip(kernel, LARGEST_KERNEL, strict=True)):
        return False
    if INTERPRETED:
        return x.device.type == "cpu"
    positions = x.shape[0] * x.shape[2] * x.shape[3]
    return x.is_cuda and x.dtype in TYPES and positions >= FEWEST_POSITIONS and x.numel() < MOST_ELEMENTS
