"""The options of a forecaster: what they can be."""

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

from ..data.series.frames import bounds_of
from ..errors import InputError, expect_seed

TRAIN = ("finetune", "scratch")


def find_way(train: str | None, scratch: Sequence[str], quantiles: Sequence[float]) -> str:
    """The way that `fit` trains; scratch: the given options of training from scratch."""
    if train not in (None, *TRAIN):
        raise InputError(f"train {train!r}, expected one of {', '.join(TRAIN)}")
    if train == "finetune" and scratch:
        raise InputError(f"{scratch[0]} with train finetune, expected it with train scratch only")
    way = train or ("scratch" if scratch else "finetune")
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


def expect_options(*, horizon: Any, lookback: Any, seed: Any, quantiles: Sequence[Any]) -> None:
    """Raise InputError that names the first of the other options that can't be; horizon: None if not yet known."""
    for name, steps in (("horizon", 1 if horizon is None else horizon), ("lookback", lookback)):
        if not isinstance(steps, Integral) or steps < 1:
            raise InputError(f"{name} {steps!r}, expected an integer, at least 1")
    expect_seed("seed", seed)
    if not all(isinstance(level, Real) and 0 < level < 1 for level in quantiles):
        raise InputError(f"quantiles {quantiles!r}, expected numbers between 0 and 1, such as (0.1, 0.9)")


def expect_names(known: Any) -> tuple[str, ...]:
    """The names of the known columns; raises InputError unless they are distinct names."""
    listed = tuple(known) if isinstance(known, Iterable) and not isinstance(known, str) else None
    if listed is None or not all(isinstance(name, str) for name in listed) or len(set(listed)) < len(listed):
        raise InputError(f"known {known!r}, expected distinct names of columns, such as ('price', 'holiday')")
    return listed
