"""AdamW that updates all parameters in one kernel, on CPUs and GPUs."""

from typing import Any

from torch.optim import AdamW

from .parameter_groups import Groups

FUSED_ON = ("cpu", "cuda")
"""Types of devices; without `fused`, PyTorch on a CPU updates the tensors one by one."""


def adamw(groups: Groups, **options: Any) -> AdamW:
    """AdamW for groups of named parameters; options: `lr` and other keywords of PyTorch's class."""
    on = {parameter.device.type for group in groups for _, parameter in group["params"]}
    optimizer = AdamW(groups, fused=on.issubset(FUSED_ON) or None, **options)
    # A fused AdamW offers to divide gradients by float16's loss scale itself. Lightning then refuses to clip them, in
    # bfloat16 too; without the offer, it divides them before.
    optimizer._step_supports_amp_scaling = False
    return optimizer
