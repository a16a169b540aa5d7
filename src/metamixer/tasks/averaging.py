"""The moving average of the weights, which is what is validated and kept."""

import lightning as L
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


class MovingAverage(WeightAveraging):
    """Exponential moving average of weights and norm statistics; its memory grows with the steps up to `decay`.

    Lightning's own (`EMAWeightAveraging`) remembers equally long from the first step: a short training is then
    validated for many epochs with what is mostly its first, random weights.
    """

    def __init__(self, decay: float = 0.9995):
        def average(averaged: list[Tensor], current: list[Tensor], steps: Tensor | int) -> None:
            get_ema_multi_avg_fn(min(decay, (1 + int(steps)) / (10 + int(steps))))(averaged, current, steps)

        super().__init__(multi_avg_fn=average)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Forget the average, which the network holds from the end of training on: Lightning's own goes on, and a test
        behind `fit` would load the weights that were not averaged.
        """
        super().teardown(trainer, pl_module, stage)
        self._average_model = None
