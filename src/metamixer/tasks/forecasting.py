"""Forecasting: what to optimise and what to measure."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import lightning as L
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection

from ..checkpoints import load_initial, network_info
from ..errors import InputError
from ..models import create_model
from .optimization import Optimization
from .steps import every_step, refuse_infinite, steps_of

LOSSES = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.smooth_l1_loss}


class Forecasting(L.LightningModule):
    """Train and measure a network that forecasts several series from a window of them.

    Args:
        model, model_args: name and keywords for `metamixer.create_model`.
        variables, lookback, horizon: must be the data's.
        initial: a checkpoint to start from, ours or a published one.
        loss: "mse", "mae" or "huber".
        compile: let torch.compile have the network.
    """

    def __init__(
        self,
        model: str = "ffnet_ts",
        variables: int = 7,
        *,
        lookback: int = 96,
        horizon: int = 96,
        model_args: dict[str, Any] | None = None,
        initial: str | None = None,
        optimization: Optimization = Optimization("adam", lr=1e-4, weight_decay=0.0, warmup_epochs=0, schedule="exponential"),
        loss: str = "mse",
        compile: bool = False,
    ):
        super().__init__()
        if loss not in LOSSES:
            raise InputError(f"loss {loss!r}, expected one of {', '.join(LOSSES)}")
        self.model_name = model
        self.model_args = {"variables": variables, "lookback": lookback, "horizon": horizon, **(model_args or {})}
        self.optimization = optimization
        self.loss = LOSSES[loss]
        self.network = create_model(model, **self.model_args)
        if initial:
            load_initial(self.network, initial)
        if compile:
            self.network.compile()
        measures = MetricCollection({"mse": MeanSquaredError(), "mae": MeanAbsoluteError()})
        self.measures = nn.ModuleDict({split: measures.clone(prefix=f"{split}/") for split in ("val", "test")})

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, lookback, variables) -> (B, horizon, variables)."""
        return self.network(x)

    def setup(self, stage: str) -> None:
        data = self.trainer.datamodule
        for name, found in (("variables", len(data.series.names)), ("lookback", data.lookback), ("horizon", data.horizon)):
            if self.model_args[name] != found:
                raise InputError(f"model.{name} {self.model_args[name]}, expected {found}, the data's")

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        x, target = batch
        loss = self.loss(self(x), target)
        refuse_infinite(loss, self)
        self.log("train/loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(x))
        return loss

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        self._evaluate("val", batch)

    def test_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        self._evaluate("test", batch)

    def configure_optimizers(self) -> dict:
        optimizer = self.optimization.optimizer(self.network)
        steps, steps_per_epoch = steps_of(self)
        scheduler = self.optimization.scheduler(optimizer, steps=steps, steps_per_epoch=steps_per_epoch)
        return every_step(optimizer, scheduler)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        data = self.trainer.datamodule
        preprocessing = {"names": list(data.series.names), "time": data.series.time, "scaling": asdict(data.scaling)}
        checkpoint["metamixer"] = network_info(
            self.model_name, self.model_args, task="forecasting", classes=None, preprocessing=preprocessing
        )

    def _evaluate(self, split: str, batch: Sequence[Tensor]) -> None:
        x, target = batch
        measures = self.measures[split]
        measures.update(self(x).contiguous(), target.contiguous())
        self.log_dict(measures, on_epoch=True, prog_bar=True, batch_size=len(x))
