"""DnCNN's published weights (github.com/cszn/DnCNN), to be measured beside ours; reading them needs h5py."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

FILES = {"noise": "model/GD_Gray_Blind.mat", "jpeg": "model/DnCNN3.mat"}
"""Kind of degradation -> file in a clone of the repository: DnCNN-B and DnCNN-3, both for gray images."""


class DnCNN(nn.Module):
    """Convolutions that find what is to be taken off a gray image in [0, 1] (Zhang et al. 2017, section III)."""

    def __init__(self, weights: list[tuple[Tensor, Tensor]]):
        super().__init__()
        layers: list[nn.Module] = []
        for weight, bias in weights:
            layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
            layer.load_state_dict({"weight": weight, "bias": bias})
            layers += [layer, nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    @classmethod
    def from_matlab(cls, file: Path) -> "DnCNN":
        """Read MatConvNet's file, in which batch normalization is already folded into the convolutions."""
        import h5py

        with h5py.File(file) as stored:
            layers = [stored[each] for each in stored["net"]["layers"][:].ravel()]
            parameters = [layer["weights"][:].ravel() for layer in layers if "weights" in layer]
            return cls([(_kernel(stored[weight]), _vector(stored[bias])) for weight, bias in parameters])

    @torch.inference_mode()
    def forward(self, image: np.ndarray, **strength: float) -> np.ndarray:
        """(H, W, 1) -> (H, W, 1); called as a `Restorer` is."""
        x = torch.from_numpy(np.asarray(image, np.float32)).permute(2, 0, 1)
        return (x - self.layers(x)).permute(1, 2, 0).numpy()


def _kernel(stored: np.ndarray) -> Tensor:
    """Matlab's (height, width, in, out), in reverse order in the file, without a last axis of 1 -> (out, in, h, w)."""
    kernel = torch.from_numpy(np.asarray(stored, np.float32))
    return kernel.reshape(-1, *kernel.shape[-3:]).transpose(2, 3).contiguous()


def _vector(stored: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(stored, np.float32)).flatten()
