"""Forecasting: loss and metrics."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection

from ..errors import InputError
from ..models.tasks import FORECASTING
from .optimization.recipe import Optimization
from .task import Compile, Task

LOSSES = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.smooth_l1_loss}


class Forecasting(Task):
    """Train and evaluate a network that forecasts several series from a window of their past.

    Args:
        model, model_args: name and keywords for `metamixer.create_model`.
        variables, lookback, horizon: must be the data's.
        initial: a checkpoint to start from, ours or a published one.
        loss: "mse", "mae" or "huber".
        compile: compile the network with torch.compile; reduce-overhead: also capture CUDA graphs.
    """

    spec = FORECASTING

    def __init__(
        self,
        model: str = "ffnet_ts",
        variables: int = 7,
        *,
        lookback: int = 96,
        horizon: int = 96,
        model_args: dict[str, Any] | None = None,
        initial: str | None = None,
        optimization: Optimization = Optimization(
            "adam", lr=1e-4, weight_decay=0.0, warmup_epochs=0, schedule="exponential"
        ),
        loss: str = "mse",
        compile: Compile = False,
    ):
        if loss not in LOSSES:
            raise InputError(f"loss {loss!r}, expected one of {', '.join(LOSSES)}")
        args = {"variables": variables, "lookback": lookback, "horizon": horizon, **(model_args or {})}
        super().__init__(model, args, optimization, initial=initial, compile=compile)
        self.loss = LOSSES[loss]
        measures = MetricCollection({"mse": MeanSquaredError(), "mae": MeanAbsoluteError()})
        self.measures = nn.ModuleDict({split: measures.clone(prefix=f"{split}/") for split in ("val", "test")})

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, lookback, variables) -> (B, horizon, variables)."""
        return self.network(x)

    def setup(self, stage: str) -> None:
        data = self.trainer.datamodule
        for name, found in (
            ("variables", len(data.series.names)),
            ("lookback", data.lookback),
            ("horizon", data.horizon),
        ):
            if self.model_args[name] != found:
                raise InputError(f"model.{name} {self.model_args[name]}, expected {found}, the data's")

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        x, target = batch
        forecast, target = where_measured(self(x), target)
        # The sum of no values is 0, with gradients; their mean would be NaN.
        loss = self.loss(forecast, target) if target.numel() else forecast.sum()
        return self.log_loss(loss, batch_size=len(x))

    def data_info(self) -> dict[str, Any]:
        data = self.trainer.datamodule
        return {
            "preprocessing": {
                "names": list(data.series.names),
                "time": data.series.time,
                "scaling": asdict(data.scaling),
            }
        }

    def measure(self, split: str, batch: Sequence[Tensor]) -> None:
        x, target = batch
        measures = self.measures[split]
        forecast, target = where_measured(self(x), target)
        measures.update(forecast.contiguous(), target.contiguous())
        self.log_dict(measures, on_epoch=True, prog_bar=True, batch_size=len(x))


def where_measured(forecast: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Leave out the values whose target is NaN, i.e. missing; without any, both keep their shape."""
    measured = ~target.isnan()
    return (forecast, target) if measured.all() else (forecast[measured], target[measured])
