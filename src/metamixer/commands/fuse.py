"""metamixer fuse"""

from pathlib import Path

from ..errors import InputError
from ..system.files import check_targets, free_name
from .output import Output


def fuse(checkpoint: str, *, out: str | None = None, json: str | None = None, overwrite: bool = False) -> None:
    """Write a checkpoint's deploy form, verified against the original on random inputs.

    Args:
        checkpoint: a checkpoint of a training run.
        out: the .safetensors file to write; default: NAME_fused.safetensors, or NAME_fused_2.safetensors if that
            exists.
        json: file for the result as JSON; "-" for standard output, without other lines.
        overwrite: replace an existing file.
    """
    from functools import partial

    from ..checkpoints.ours import load_checkpoint, save_network
    from ..deployment.parity import compare
    from ..deployment.samples import example_of
    from ..models.tasks import task_row
    from ..ops.fusion import fuse as fuse_network

    out = out or free_name(f"{Path(checkpoint).stem}_fused.safetensors", overwrite=overwrite)
    if Path(out).suffix != ".safetensors":
        raise InputError(f"out {out!r}, expected a name that ends in .safetensors")
    check_targets([Path(out)], sources=[Path(checkpoint)], overwrite=overwrite)
    output = Output(json, sources=[Path(checkpoint)], overwrite=overwrite)
    network, info = load_checkpoint(checkpoint)
    task, example = task_row(info["task"], checkpoint), example_of(network, info)
    fused = fuse_network(network)
    parity = compare(partial(task.outputs, fused), partial(task.outputs, network), [example])
    if excess := parity.excess("fp32"):
        raise InputError(f"{checkpoint}: its deploy form {excess}: nothing written")
    save_network(fused, {**info, "fused": True}, out)
    before, after = (sum(parameter.numel() for parameter in net.parameters()) for net in (network, fused))
    modules = [sum(1 for module in net.modules() if not list(module.children())) for net in (network, fused)]
    output.say(f"{after:,} parameters (were {before:,}), {modules[1]} operators (were {modules[0]})")
    output.say(f"parity on random {task.inputs}: largest difference {parity.largest:.1e} of the largest value")
    output.end(
        {"file": out, "parameters": after, "operators": modules[1], "largest_difference": parity.largest},
        wrote=[out],
        then=f"metamixer {task.command} INPUT --checkpoint {out}",
    )
