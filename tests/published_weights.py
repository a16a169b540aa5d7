"""Weights and inputs of the golden numbers: each tensor is computed from its name (tests/golden/README.md)."""

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"


def weight(key: str, shape: list[int]) -> Tensor:
    """The tensor of this key in the published network."""
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    z = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    one_per_channel = len(shape) <= 1 or (len(shape) == 3 and tuple(shape[1:]) == (1, 1))
    if key.endswith("running_var"):
        value = 0.5 + np.abs(z)
    elif key.endswith("running_mean"):
        value = 0.1 * z
    elif one_per_channel:
        value = 1 + 0.1 * z if key.endswith(("weight", "layer_scale")) else 0.1 * z
    else:
        value = z * 0.5 / math.sqrt(math.prod(shape[1:]))
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def state_dict(
    network: str, keys_file: str = "vision_keys.json", known: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The published state dict of a network, by its name in the keys file, such as `cls/ffnet_1`.

    known: tensors of another network; those of the same name aren't computed again.
    """
    keys = json.loads((GOLDEN / keys_file).read_text())[network]
    known = known or {}
    return {key: known[key] if key in known else weight(key, shape) for key, shape in keys.items()}


@contextmanager
def zeros_as_initialization() -> Iterator[None]:
    """Initialize networks with zeros where weights are loaded next: random numbers take longer than loading."""

    def zeros(tensor: Tensor, *_, **__) -> Tensor:
        return tensor.zero_()

    with patch.multiple(Tensor, uniform_=zeros, normal_=zeros, erfinv_=zeros, create=True):
        yield


def image(name: str, shape: tuple[int, ...]) -> Tensor:
    """The input of this name."""
    return torch.from_numpy(np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32))
