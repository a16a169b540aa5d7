"""What a forecaster keeps of the table that it was fitted on, and how it was fitted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..data.series.frames import Layout
from ..data.series.frequency import Frequency
from ..data.series.tables import Series
from ..data.series.windows import Scaling
from ..errors import InputError
from .fine_tuning import FineTuned


@dataclass(frozen=True)
class Table:
    """The table that a forecaster was fitted on.

    series: without gaps; measured: the same with NaN for missing values; borders: the end rows of the training,
    validation and backtest parts.
    """

    series: Series
    measured: Series
    borders: tuple[int, int, int]


@dataclass(frozen=True)
class Fitted:
    """Everything that prediction needs besides the network.

    names: of the series, in the network's order; quantiles: margins (horizon, series) of each level in percent;
    frequency: None for a network of a training run, which uses each table's; table: None after `load`.
    """

    names: tuple[str, ...]
    scaling: Scaling
    layout: Layout
    quantiles: Mapping[float, list]
    frequency: Frequency | None = None
    table: Table | None = None


@dataclass(frozen=True)
class Tuned:
    """The result of fine-tuning and the table it was done on; borders: as in `Table`."""

    result: FineTuned
    series: Series
    layout: Layout
    borders: tuple[int, int, int]


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
