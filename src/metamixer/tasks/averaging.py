"""Moving average of the weights, which is validated and saved."""

import lightning as L
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


class MovingAverage(WeightAveraging):
    """Exponential moving average of weights and norm statistics; the decay grows with the steps up to `decay`.

    Lightning's `EMAWeightAveraging` uses the full decay from the first step on, so that a short training is validated
    for many epochs with an average of mostly random initial weights.
    """

    def __init__(self, decay: float = 0.9995):
        def average(averaged: list[Tensor], current: list[Tensor], steps: Tensor | int) -> None:
            get_ema_multi_avg_fn(min(decay, (1 + int(steps)) / (10 + int(steps))))(averaged, current, steps)

        super().__init__(multi_avg_fn=average)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Drop the average, which the network has since the end of training.

        Lightning keeps it, so that `test` after `fit` would load the weights that aren't averaged.
        """
        super().teardown(trainer, pl_module, stage)
        self._average_model = None
