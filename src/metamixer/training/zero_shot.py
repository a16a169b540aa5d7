"""Train the zero-shot forecaster on synthetic series, on one CPU core or one GPU, for a given time.

    python -m metamixer.training.zero_shot recipes/forecasting/ffnet_ts_zero_gpu.yaml --out runs/zero --minutes 4
    --device cuda

An interrupted training resumes from its last checkpoint when started again with the same folder. The learning rate
follows the time: a cosine that ends at zero after `--minutes` of training in total.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import cos, pi
from pathlib import Path
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from ..checkpoints.ours import load_checkpoint, network_info, save_network
from ..data.series.synthetic import SeriesBatch, synthetic_batch
from ..errors import DIVERGED, USAGE_ERROR, DivergenceError, InputError, above_zero, at_least, naming, printable
from ..models.ffnet_ts.zero import ffnet_ts_zero, quantile_loss
from ..models.tasks import ZERO_SHOT
from ..system.device import find_device
from ..system.metadata import STRICT, Keywords, Positive, read_as
from ..system.weight_files import write_torch_file
from ..system.yaml_files import read_yaml
from .muon import Muon

MOST_SKIPPED = 100
"""Steps in a row without a finite gradient, after which a training ends."""

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of the training.

    network: keywords of `FFNetTSZero`; windows: (context, horizon, batch size) of the batches, in turn; lr: of the
    matrices, in Muon's units; adam_lr: of all else; weight_decay: of the matrices; warmup: steps; average: decay of the
    averaged weights; clip: norm of the gradient; precision: of the blocks; drawn: batches generated at once.
    """

    __pydantic_config__ = STRICT

    network: Keywords = field(default_factory=dict)
    windows: Sequence[tuple[PositiveInt, PositiveInt, PositiveInt]] = ((512, 128, 96), (128, 32, 384))
    lr: float = 0.01
    adam_lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: PositiveInt = 100
    average: float = 0.998
    clip: Positive = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    drawn: PositiveInt = 1
    seed: int = 0


class ZeroShotTraining:
    """A training in a folder: network, optimizers, averaged weights and progress."""

    def __init__(self, recipe: Recipe, folder: Path, *, device: str = "cpu", start: Path | None = None):
        self.recipe, self.folder, self.device = recipe, folder, find_device(device)
        torch.manual_seed(recipe.seed)
        self.network = ffnet_ts_zero(**recipe.network).to(self.device)
        if start:
            with naming(start):
                self.network.load_state_dict(load_checkpoint(start)[0].state_dict())
        if (dtype := PRECISIONS[recipe.precision]) is not None:
            self.network.blocks.forward = torch.autocast(self.device.type, dtype)(self.network.blocks.forward)
        self.draws: dict[int, tuple[int, SeriesBatch]] = {}
        matrices = [weight for weight in self.network.blocks.parameters() if weight.ndim == 3 and weight.shape[1] > 1]
        chosen = {id(weight) for weight in matrices}
        others = [weight for weight in self.network.parameters() if id(weight) not in chosen]
        self.optimizers = [
            Muon(matrices, lr=recipe.lr, weight_decay=recipe.weight_decay),
            torch.optim.AdamW(others, lr=recipe.adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.averaged = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.step, self.seconds, self.skipped = 0, 0.0, 0
        folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            with naming(self.checkpoint):
                self._resume()

    @property
    def checkpoint(self) -> Path:
        return self.folder / "last.pt"

    def batch(self) -> SeriesBatch:
        """The batch of the current step, which depends only on seed and step; several are generated at once."""
        turn, kind = divmod(self.step, len(self.recipe.windows))
        draw, part = divmod(turn, self.recipe.drawn)
        context, horizon, rows = self.recipe.windows[kind]
        if self.draws.get(kind, (None,))[0] != draw:
            number = draw * len(self.recipe.windows) + kind
            batch = synthetic_batch(
                rows * self.recipe.drawn, context, horizon, seed=self.recipe.seed, step=number, device=self.device
            )
            self.draws[kind] = draw, batch
        return self.draws[kind][1].rows(slice(part * rows, (part + 1) * rows))

    def update(self, progress: float) -> tuple[Tensor, int]:
        """One optimizer step at a fraction `progress` of the training; returns the loss and the number of series.

        A step whose gradient isn't finite is skipped; raises DivergenceError after `MOST_SKIPPED` in a row.
        """
        batch = self.batch()
        forecast, unit = self.network.forecast(batch.context, batch.season, batch.future.shape[1])
        loss = quantile_loss(forecast, batch.future, unit)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.skipped = 0 if torch.isfinite(norm) else self.skipped + 1
        if self.skipped == MOST_SKIPPED:
            raise DivergenceError(
                f"training loss is {loss.item()} at step {self.step}, expected a finite gradient in one of "
                f"{MOST_SKIPPED} steps; stopped; try lower learning rates (lr, adam_lr)"
            )
        if not self.skipped:
            rate = min(1, (self.step + 1) / self.recipe.warmup) * (0.5 + 0.5 * cos(pi * min(progress, 1)))
            for optimizer, lr in zip(self.optimizers, (self.recipe.lr, self.recipe.adam_lr), strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = lr * rate
                optimizer.step()
        self.network.zero_grad()
        self.step += 1
        decay = min(self.recipe.average, self.step / (self.step + 10))
        state = self.network.state_dict()
        torch._foreach_lerp_(list(self.averaged.values()), list(state.values()), 1 - decay)
        return loss.detach(), len(batch.season)

    def run(self, minutes: float, *, every: float) -> None:
        """Train for `minutes` in total or until SIGTERM or SIGINT; every: seconds between checkpoints."""
        asked = EndAsked()
        before, started, saved = self.seconds, time.monotonic(), time.monotonic()
        losses, series = [], 0
        while self.seconds < 60 * minutes and not asked:
            loss, rows = self.update(self.seconds / (60 * minutes))
            losses.append(loss)
            series += rows
            self.seconds = before + time.monotonic() - started
            if time.monotonic() - saved >= every:
                self._report(losses, series)
                self.save()
                losses, series, saved = [], 0, time.monotonic()
        if losses:
            self._report(losses, series)
        self.save()

    def save(self) -> None:
        """Write the checkpoint, and the averaged weights in half precision; files are replaced atomically."""
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "seconds": self.seconds,
        }
        write_torch_file(state, self.checkpoint)
        network = ffnet_ts_zero(**self.recipe.network)
        network.load_state_dict(self.averaged)
        seen = {
            "recipe": asdict(self.recipe),
            "steps": self.step,
            "minutes": round(self.seconds / 60, 1),
            "device": self.device.type,
        }
        info = network_info("ffnet_ts_zero", network.settings, task=ZERO_SHOT.name, preprocessing={"training": seen})
        save_network(network.half(), info, self.folder / "weights.safetensors")

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.averaged = state["averaged"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]

    def _report(self, losses: list[Tensor], series: int) -> None:
        kinds = len(self.recipe.windows)
        first = self.step - len(losses)
        means = {}
        for kind in range(kinds):
            values = [loss for i, loss in enumerate(losses, first) if i % kinds == kind]
            if values:
                means["/".join(map(str, self.recipe.windows[kind][:2]))] = round(torch.stack(values).mean().item(), 4)
        line = {"step": self.step, "minutes": round(self.seconds / 60, 2), "series": series, "loss": means}
        with open(self.folder / "log.jsonl", "a") as file:
            print(json.dumps(line), file=file)
        print(json.dumps(line), flush=True)


class EndAsked:
    """True once the process got SIGTERM or SIGINT."""

    def __init__(self):
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, *_) -> None:
        self.asked = True

    def __bool__(self) -> bool:
        return self.asked


def read_recipe(path: Path) -> Recipe:
    """A recipe from a file; raises InputError that names the file and the setting."""
    recipe = read_as(Recipe, read_yaml(path, expected="a recipe"), f"{path}: recipe")
    with naming(f"{path}: recipe.network"), torch.device("meta"):
        ffnet_ts_zero(**recipe.network)
    return recipe


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; errors print one line on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m metamixer.training.zero_shot", description="Train the zero-shot forecaster on synthetic series."
    )
    parser.add_argument("recipe", type=Path, help="the recipe, a .yaml file")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, weights and log")
    parser.add_argument("--start", type=Path, help="weights of an earlier training to start from")
    parser.add_argument("--minutes", type=float, required=True, help="minutes of training in total")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument(
        "--checkpoint-seconds", type=float, default=120, help="seconds between checkpoints (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    try:
        above_zero("minutes", options.minutes)
        at_least("checkpoint-seconds", options.checkpoint_seconds, 0)
        recipe = read_recipe(options.recipe)
        training = ZeroShotTraining(recipe, options.out, device=options.device, start=options.start)
        training.run(options.minutes, every=options.checkpoint_seconds)
    except (InputError, DivergenceError, OSError) as error:
        said = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.strerror else error
        print(f"metamixer: error: {printable(said)}", file=sys.stderr)
        return DIVERGED if isinstance(error, DivergenceError) else USAGE_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
