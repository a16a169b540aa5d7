"""The data module of forecasting, for training and the standard benchmarks."""

import copy
from collections.abc import Sequence

from torch import Tensor

from ...errors import InputError, at_least, naming
from ..loading import Loading
from ..module import DataModule
from .frequency import refuse_backward
from .missing import refuse_missing
from .tables import Series, find_table, read_series
from .windows import Scaling, Windows


def as_fetched(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Collate function for `Windows`, which returns whole batches."""
    return batch


class SeriesData(DataModule):
    """Windows of a file in the layout of the Time-Series-Library, split by time and scaled by the training rows.

    Args:
        path: CSV (may be gzipped) with a column `date`; searched in the folder METAMIXER_DATA, too.
        lookback, horizon: rows of input and rows to forecast; must be the model's.
        split: rows of the training, validation and test parts, or their fractions. Windows of the latter two look back
            into the previous part.
        batch_size: windows per batch.
        max_val_windows: number of windows, evenly spaced, to validate on; None: all.
        seed: of shuffling.
    """

    collate = collate_evaluation = staticmethod(as_fetched)

    def __init__(
        self,
        path: str,
        *,
        lookback: int = 96,
        horizon: int = 96,
        split: tuple[float, float, float] = (0.7, 0.1, 0.2),
        batch_size: int = 128,
        num_workers: int = 0,
        max_val_windows: int | None = None,
        seed: int = 0,
    ):
        super().__init__(Loading(batch_size, num_workers, seed, keep_last=True))  # every window counts
        for name, value in {"lookback": lookback, "horizon": horizon, "max_val_windows": max_val_windows}.items():
            if value is not None:
                at_least(name, value, 1)
        self.path = path
        self.lookback = lookback
        self.horizon = horizon
        self.split = split
        self.max_val_windows = max_val_windows
        self._series: Series | None = None
        self._measured: Series | None = None
        self._scaling: Scaling | None = None

    @classmethod
    def of(cls, series: Series, *, measured: Series | None = None, **settings) -> "SeriesData":
        """Use a table in memory; measured: the same with NaN for filled values; settings: the arguments above."""
        data = cls("table", **settings)
        data._series, data._measured = series, measured
        return data

    def with_all_rows(self) -> "SeriesData":
        """The same table, scaled as before, with every row in the training part."""
        data = copy.copy(self)
        data.split, data._scaling = (len(self.series), 0, 0), self.scaling
        return data

    @property
    def series(self) -> Series:
        """The whole table."""
        if self._series is None:
            with naming(find_table(self.path)):
                series = read_series(self.path)
                refuse_missing(series)
                refuse_backward(series)
            self._series = series
        return self._series

    @property
    def borders(self) -> tuple[int, int, int]:
        """The end rows of the training, validation and test parts."""
        return split_rows(len(self.series), self.split)

    @property
    def scaling(self) -> Scaling:
        """The scaling of the training rows."""
        return self._scaling or Scaling.of(self.series.values[: self.borders[0]])

    def windows(self, part: str) -> Windows:
        """The windows of "train", "val" or "test", scaled."""
        train, val, test = self.borders
        start, stop = {"train": (0, train), "val": (train - self.lookback, val), "test": (val - self.lookback, test)}[
            part
        ]
        scaling = self.scaling
        measured = None if self._measured is None else scaling.apply(self._measured.values[start:stop])
        return Windows(scaling.apply(self.series.values[start:stop]), self.lookback, self.horizon, measured=measured)

    def training_dataset(self) -> Windows:
        return self.windows("train")

    def evaluation_dataset(self, split: str) -> Windows:
        """The windows of a split; of the validation split at most `max_val_windows`."""
        return self.windows(split).spread(self.max_val_windows if split == "val" else None)


def split_rows(rows: int, split: Sequence[float]) -> tuple[int, int, int]:
    """The ends of three parts, from row counts or fractions, rounded like the Time-Series-Library."""
    if len(split) != 3 or min(split) < 0 or (max(split) <= 1 and abs(sum(split) - 1) > 1e-6):
        raise InputError(f"split {list(split)}, expected three fractions that add up to 1, or three numbers of rows")
    train, val, test = split
    if max(split) <= 1:
        train, test = int(rows * train), int(rows * test)
        return train, rows - test, rows
    ends = int(train), int(train + val), int(train + val + test)
    if ends[2] > rows:
        raise InputError(f"split {list(split)}: {ends[2]} rows, expected at most {rows}, the rows of the table")
    return ends
