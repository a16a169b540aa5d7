"""Random weights and norm statistics far from the initialization, so that a test of fusing can fail."""

import torch
from torch import nn


@torch.no_grad()
def randomize(module: nn.Module, seed: int = 0) -> nn.Module:
    """Randomize norms, layer scales and biases as after training, and switch to evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(0.5 + noise.abs())
        elif name.endswith("gamma") or (name.endswith("weight") and tensor.ndim == 1):
            tensor.copy_(1 + 0.3 * noise)
        elif name.endswith(("bias", "running_mean")):
            tensor.copy_(0.3 * noise)
        elif tensor.ndim > 1:
            tensor.copy_(noise * tensor[0].numel() ** -0.5)
    return module.eval()
