"""Batch norms over the batches of all processes; parameters, checkpoints and inputs stay those of each norm."""

from functools import cache

from timm.layers import BatchNormAct2d, SyncBatchNormAct
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def synchronize_norms(network: nn.Module) -> nn.Module:
    """Let the batch norms of any network use the batches of all processes, in place; PyTorch does this on GPUs only.

    PyTorch's own conversion makes a plain `nn.SyncBatchNorm` of every norm, which takes neither voxels nor the layout
    of series and has no activation. Here each keeps its `forward`.
    """
    for module in network.modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm):
            module.__class__ = synchronized(type(module))
            module.process_group = None
    return network


def separate_norms(network: nn.Module) -> nn.Module:
    """Undo `synchronize_norms`, in place."""
    for module in network.modules():
        if isinstance(module, nn.SyncBatchNorm) and (kind := getattr(module, "separate", None)):
            module.__class__ = kind
            del module.process_group
    return network


@cache
def synchronized(kind: type[_BatchNorm]) -> type[nn.SyncBatchNorm]:
    """The class of norms that are like those of `kind`, with the statistics of `nn.SyncBatchNorm`."""
    bases = (SyncBatchNormAct,) if issubclass(kind, BatchNormAct2d) else (kind, nn.SyncBatchNorm)
    return type(f"Synchronized{kind.__name__}", bases, {"separate": kind, "__doc__": kind.__doc__})
