"""Restoration: the losses and metrics of super-resolution, on degraded photographs."""

from typing import Any

from ..errors import InputError
from ..models.tasks import RESTORATION
from .optimization.recipe import Optimization
from .super_resolution import SuperResolution
from .task import Compile


class Restoration(SuperResolution):
    """Train and evaluate a restoration network.

    Args:
        model, model_args: name and keywords for `metamixer.create_model`.
        scale, channels: must be the data's.
        initial: a checkpoint to start from.
        initial_head: False to initialize stem and head anew, for a checkpoint of other channels or another scale.
        loss: l1, or psnr: every patch's PSNR counts the same, whatever its degradation.
        frequency_weight: weight of the frequency loss, which is added.
        compile: compile the network with torch.compile; reduce-overhead: also capture CUDA graphs.
    """

    spec = RESTORATION

    def __init__(
        self,
        model: str = "ffnet_restore",
        scale: int = 1,
        *,
        channels: int = 3,
        model_args: dict[str, Any] | None = None,
        initial: str | None = None,
        initial_head: bool = True,
        optimization: Optimization = Optimization(
            "adam", lr=2e-3, min_lr=1e-5, weight_decay=0.0, warmup_epochs=0, betas=(0.9, 0.99)
        ),
        loss: str = "l1",
        frequency_weight: float = 0.0,
        compile: Compile = False,
    ):
        super().__init__(
            model,
            scale,
            model_args={"in_chans": channels, **(model_args or {})},
            initial=initial,
            initial_head=initial_head,
            optimization=optimization,
            loss=loss,
            frequency_weight=frequency_weight,
            compile=compile,
        )

    def setup(self, stage: str) -> None:
        super().setup(stage)
        channels = self.trainer.datamodule.channels
        if self.model_args["in_chans"] != channels:
            raise InputError(f"model.channels {self.model_args['in_chans']}, expected {channels}, the data's")
