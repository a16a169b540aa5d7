"""Super-resolution: loss and metrics."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric

from ..data.super_resolution.quality import psnr, ssim, to_pixels
from ..errors import InputError
from ..models.tasks import SUPER_RESOLUTION
from .optimization.recipe import Optimization
from .task import Compile, Task


def frequency_loss(actual: Tensor, target: Tensor, *, weight: float = 0.02) -> Tensor:
    """Mean absolute difference of the spectra's real and imaginary parts, times `weight`; (B, C, H, W) each."""
    spectra = (torch.view_as_real(torch.fft.rfft2(image.float())) for image in (actual, target))
    return weight * F.l1_loss(*spectra)


def psnr_loss(actual: Tensor, target: Tensor) -> Tensor:
    """Mean of log10 of each patch's squared error, a tenth of the negative PSNR in dB (as NAFNet is trained, section 5
    of Chen et al. 2022); (B, C, H, W) each. Patches above 50 dB, clean ones among them, hardly count.
    """
    errors = (actual - target).float().square().mean(dim=(1, 2, 3))
    return (errors + 1e-5).log10().mean()


MOST_DB = 100.0
"""PSNR of a perfectly restored image in the mean, which its own, infinity, would make infinite."""

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "psnr": psnr_loss}
"""Name -> (actual, target) -> scalar."""


class SuperResolution(Task):
    """Train and evaluate an upscaling network; by default with L1 plus the frequency loss (paper, super-resolution
    settings).

    Args:
        model, model_args: name and keywords for `metamixer.create_model`.
        scale: must be the data's.
        initial: a checkpoint to start from, ours or a published one.
        initial_head: False to initialize the head anew, for a checkpoint of another scale.
        loss: l1, or psnr: every patch's PSNR counts the same, however hard it is.
        frequency_weight: weight of the frequency loss, which is added.
        compile: compile the network with torch.compile; reduce-overhead: also capture CUDA graphs.
    """

    spec = SUPER_RESOLUTION
    layout = torch.channels_last

    def __init__(
        self,
        model: str = "ffnet_sr_light",
        scale: int = 2,
        *,
        model_args: dict[str, Any] | None = None,
        initial: str | None = None,
        initial_head: bool = True,
        optimization: Optimization = Optimization(
            "adam", lr=1e-3, min_lr=1e-5, weight_decay=0.0, warmup_epochs=0, betas=(0.9, 0.99)
        ),
        loss: str = "l1",
        frequency_weight: float = 0.02,
        compile: Compile = False,
    ):
        if loss not in LOSSES:
            raise InputError(f"model.loss {loss!r}, expected {' or '.join(LOSSES)}")
        args = {"scale": scale, **(model_args or {})}
        super().__init__(model, args, optimization, initial=initial, new_classifier=not initial_head, compile=compile)
        self.pixel_loss = LOSSES[loss]
        self.frequency_weight = frequency_weight
        self.measures = nn.ModuleDict(
            {split: nn.ModuleDict({"psnr": MeanMetric(), "ssim": MeanMetric()}) for split in ("val", "test")}
        )

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, 3, H, W) in [0, 1] -> (B, 3, scale * H, scale * W)."""
        return self.network(images.contiguous(memory_format=self.layout))

    def setup(self, stage: str) -> None:
        found = self.trainer.datamodule.scale
        if self.model_args["scale"] != found:
            raise InputError(f"model.scale {self.model_args['scale']}, expected {found}, the data's")

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        small, large = batch
        enlarged = self(small)
        loss = self.pixel_loss(enlarged, large)
        if self.frequency_weight:
            loss = loss + frequency_loss(enlarged, large, weight=self.frequency_weight)
        return self.log_loss(loss, batch_size=len(small))

    def data_info(self) -> dict[str, Any]:
        return {}

    def measure(self, split: str, batch: Sequence[Tensor]) -> None:
        """PSNR (at most MOST_DB) and SSIM on Y without a border of `scale` pixels, mean over the images, in float32."""
        small, large = batch
        with torch.autocast(small.device.type, enabled=False):
            enlarged = self(small)
        for restored, original in zip(enlarged, large, strict=True):
            if len(original) == 1:
                restored = restored.mean(dim=0, keepdim=True)
            pair = to_pixels(restored), original.permute(1, 2, 0).cpu().numpy()
            for name, measure in (("psnr", psnr), ("ssim", ssim)):
                value = measure(*pair, border=self.model_args["scale"])
                self.measures[split][name].update(min(value, MOST_DB))
        self.log_dict(
            {f"{split}/{name}": measure for name, measure in self.measures[split].items()},
            on_epoch=True,
            prog_bar=True,
            batch_size=1,
        )
