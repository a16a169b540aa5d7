"""The options of a forecaster: what they can be."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch

from ...data.series.frames import bounds_of
from ...errors import InputError, expect_integer, expect_seed

TRAIN = ("finetune", "scratch")

LONGEST_WINDOW = 2**20
"""Maximum lookback, and maximum horizon from scratch, in steps."""

LONGEST_HORIZON = {"finetune": 10_000, "scratch": LONGEST_WINDOW}
"""In steps, by the way of training; beyond 10,000 steps a forecast of the packaged network only extends itself."""

MOST_TRAINING = 1_000_000
"""Maximum number of each count in the settings of a training: steps, windows and so on."""


@dataclass(frozen=True)
class Wanted:
    """What is asked of a forecast; the fields are those of `Forecaster`."""

    horizon: int
    levels: tuple[float, ...] = ()
    quantiles: tuple[float, ...] = ()
    positive: bool = False
    known: tuple[str, ...] = ()
    time: str | None = None
    device: torch.device = torch.device("cpu")
    fill_gaps: bool = True


@dataclass(frozen=True)
class Training:
    """How a forecaster is trained; the defaults take about two minutes on two cores for a table of any length.

    steps: of the optimizer, with a cosine schedule from `lr` to 0; checks: number of validations, of which the best
    weights are kept; max_windows: per validation and backtest.
    """

    steps: int = 120
    batch_size: int = 128
    lr: float = 1e-3
    loss: str = "mse"
    checks: int = 6
    max_windows: int = 1024

    def __post_init__(self):
        expect_training(self, "steps", "batch_size", "checks", "max_windows")


def find_way(train: str | None, scratch: Mapping[str, Any], quantiles: Sequence[float]) -> str:
    """The way that `fit` trains; scratch: the options of training from scratch, None if not given."""
    if train not in (None, *TRAIN):
        raise InputError(f"train {train!r}, expected one of {', '.join(TRAIN)}")
    given = [name for name, value in scratch.items() if value is not None]
    if train == "finetune" and given:
        raise InputError(f"{given[0]} with train finetune, expected it with train scratch only")
    way = train or ("scratch" if given else "finetune")
    if way == "scratch" and quantiles:
        raise InputError(f"quantiles {quantiles!r} with train scratch, expected levels: its network forecasts means")
    return way


def expect_levels(levels: Any) -> tuple[float, ...]:
    """The levels; raises InputError unless they are distinct percentages."""
    listed = tuple(levels) if isinstance(levels, Iterable) else None
    if listed is None or not all(isinstance(level, Real) and 1 <= level < 100 for level in listed):
        raise InputError(f"levels {levels!r}, expected percentages of at least 1 and below 100, such as (80, 95)")
    if len({bounds_of(level) for level in listed}) < len(listed):
        raise InputError(f"levels {levels!r}, expected distinct levels with at most six digits")
    return listed


def expect_options(*, way: str, horizon: Any, lookback: Any, seed: Any, quantiles: Sequence[Any]) -> None:
    """Raise InputError that names the first of the other options that can't be.

    way: the way of training; horizon: None if not yet known.
    """
    if horizon is not None:
        expect_integer("horizon", horizon, 1, LONGEST_HORIZON[way])
    expect_integer("lookback", lookback, 1, LONGEST_WINDOW)
    expect_seed("seed", seed)
    if not all(isinstance(level, Real) and 0 < level < 1 for level in quantiles):
        raise InputError(f"quantiles {quantiles!r}, expected numbers between 0 and 1, such as (0.1, 0.9)")


def expect_names(known: Any) -> tuple[str, ...]:
    """The names of the known columns; raises InputError unless they are distinct names."""
    listed = tuple(known) if isinstance(known, Iterable) and not isinstance(known, str) else None
    if listed is None or not all(isinstance(name, str) for name in listed) or len(set(listed)) < len(listed):
        raise InputError(f"known {known!r}, expected distinct names of columns, such as ('price', 'holiday')")
    return listed


def expect_training(settings: Any, *names: str) -> None:
    """Raise InputError that names the first of these counts in the settings of a training that can't be."""
    for name in names:
        expect_integer(name, getattr(settings, name), 1, MOST_TRAINING)
