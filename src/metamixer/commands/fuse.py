"""metamixer fuse"""

from pathlib import Path

import torch
from torch import nn

from ..checkpoints.ours import load_checkpoint, save_network
from ..data.preprocessing import Preprocessing
from ..errors import InputError
from ..ops.fusion import fuse as fuse_network
from ..ops.sparse import SparseVoxels
from ..system.files import check_targets


def fuse(checkpoint: str, *, out: str, overwrite: bool = False) -> None:
    """Write a checkpoint's deploy form and print how far it is from the original.

    Args:
        checkpoint: a file of a training run.
        out: the .safetensors file to write; `metamixer predict --checkpoint` (of a detector `detect`, of a segmenter `segment`) takes it.
        overwrite: replace a file that exists.
    """
    if Path(out).suffix != ".safetensors":
        raise InputError(f"out {out!r}, expected a name that ends in .safetensors")
    check_targets([Path(out)], sources=[Path(checkpoint)], overwrite=overwrite)
    network, info = load_checkpoint(checkpoint)
    fused = fuse_network(network)
    with torch.inference_mode():
        expected, actual = (FUSE_PROBES[info["task"]](net, info) for net in (network, fused))
    difference = ((actual - expected).abs().max() / expected.abs().max()).item()
    save_network(fused, {**info, "fused": True}, out)
    before, after = (sum(parameter.numel() for parameter in net.parameters()) for net in (network, fused))
    modules = [sum(1 for module in net.modules() if not list(module.children())) for net in (network, fused)]
    print(f"{out}: {after:,} parameters (were {before:,}), {modules[1]} operators (were {modules[0]})")
    print(f"parity on random images: largest difference {difference:.1e} of the largest value")


def _classifier_probe(network: nn.Module, info: dict) -> torch.Tensor:
    """Logits of eight random images."""
    settings = Preprocessing.from_dict(info["preprocessing"])
    return network(torch.randn(8, settings.in_chans, settings.size, settings.size, generator=torch.Generator().manual_seed(0)))


def _detector_probe(network: nn.Module, info: dict) -> torch.Tensor:
    """Pyramid of a random image and the box heads' logits of regions of it."""
    image = torch.randn(1, 3, 256, 320, generator=torch.Generator().manual_seed(0))
    levels = network.forward_features(image)
    regions = levels[0][:, :, :7, :7]
    return torch.cat([part.flatten() for part in (*levels, *(head(regions)[0] for head in network.cascade.box_heads))])


def _segmenter_probe(network: nn.Module, info: dict) -> torch.Tensor:
    """Logits of a random image."""
    return network(torch.randn(1, 3, 192, 256, generator=torch.Generator().manual_seed(0)))


def _forecaster_probe(network: nn.Module, info: dict) -> torch.Tensor:
    """Forecasts of eight random windows."""
    shape = info["model_args"]["lookback"], info["model_args"]["variables"]
    return network(torch.randn(8, *shape, generator=torch.Generator().manual_seed(0)))


def _points_probe(network: nn.Module, info: dict) -> torch.Tensor:
    """Logits of a random block of voxels, a third of its cells."""
    generator = torch.Generator().manual_seed(0)
    cells = (torch.rand(16, 16, 16, generator=generator) < 0.3).nonzero()
    return network(SparseVoxels.of(torch.randn(len(cells), network.in_chans, generator=generator), cells))


def _super_resolution_probe(network: nn.Module, info: dict) -> torch.Tensor:
    """A small random image, enlarged."""
    return network(torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0)))


FUSE_PROBES = {
    "classification": _classifier_probe,
    "detection": _detector_probe,
    "forecasting": _forecaster_probe,
    "segmentation": _segmenter_probe,
    "points": _points_probe,
    "super_resolution": _super_resolution_probe,
}
"""What a network of a task gives for fixed random input, by which its deploy form is compared with it."""
