"""metamixer fuse"""

from pathlib import Path

import torch

from ..checkpoints.ours import load_checkpoint, save_network
from ..deployment.samples import example_of
from ..errors import InputError
from ..models.tasks import TASKS
from ..ops.fusion import fuse as fuse_network
from ..system.files import check_targets


def fuse(checkpoint: str, *, out: str, overwrite: bool = False) -> None:
    """Write a checkpoint's deploy form and print its difference from the original.

    Args:
        checkpoint: a file of a training run.
        out: the .safetensors file to write, for --checkpoint of `metamixer predict` (`detect` for a detector, `segment`
            for a segmenter).
        overwrite: replace an existing file.
    """
    if Path(out).suffix != ".safetensors":
        raise InputError(f"out {out!r}, expected a name that ends in .safetensors")
    check_targets([Path(out)], sources=[Path(checkpoint)], overwrite=overwrite)
    network, info = load_checkpoint(checkpoint)
    fused = fuse_network(network)
    task, example = TASKS[info["task"]], example_of(network, info)
    with torch.inference_mode():
        expected, actual = (task.outputs(net, example) for net in (network, fused))
    difference = ((actual - expected).abs().max() / expected.abs().max()).item()
    save_network(fused, {**info, "fused": True}, out)
    before, after = (sum(parameter.numel() for parameter in net.parameters()) for net in (network, fused))
    modules = [sum(1 for module in net.modules() if not list(module.children())) for net in (network, fused)]
    print(f"{out}: {after:,} parameters (were {before:,}), {modules[1]} operators (were {modules[0]})")
    print(f"parity on random {task.inputs}: largest difference {difference:.1e} of the largest value")
