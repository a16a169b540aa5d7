"""`trainer.sync_batchnorm`: batch norms over the batches of all processes."""

from lightning import Trainer
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn

from ..errors import InputError
from ..ops.synchronized import separate_norms, synchronize_norms


class SynchronizedNorms(TorchSyncBatchNorm):
    """Lightning's plugin, for norms of images, series and voxels; it acts during a fit with several processes."""

    def apply(self, model: nn.Module) -> nn.Module:
        return synchronize_norms(model)

    def revert(self, model: nn.Module) -> nn.Module:
        return separate_norms(model)


def expect_gpus(trainer: Trainer) -> None:
    """Raise InputError for several processes on CPUs, between which PyTorch can't synchronize batch norms."""
    if trainer.world_size > 1 and trainer.strategy.root_device.type == "cpu":
        raise InputError("trainer.sync_batchnorm true, expected false on CPUs: PyTorch has it for GPUs only")
