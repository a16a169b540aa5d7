"""A table of time series."""

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np

from ...data.series.dates import import_pandas
from ...data.series.frames import read_frame
from ...data.series.frequency import Frequency
from ...data.series.gaps import fill_gaps
from ...data.series.missing import fill_missing
from ...data.series.splits import lookback_for, split_windows
from ...data.series.tables import Series, read_table
from ...errors import InputError, InputWarning, counted, naming
from ...models.tasks import FORECASTING
from ...system.files import write_text
from ..run_folder import SPLIT
from .understood import OwnData, named

SUFFIXES = (".csv", ".gz", ".parquet")
TABLE = "table.csv"
"""A copy in the run folder's data, with missing rows and values filled."""


def tables_at(path: Path) -> list[Path]:
    """The table itself, or the tables directly in a folder."""
    if path.is_file():
        return [path] if path.suffix.lower() in SUFFIXES else []
    return sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())


def has_tables(path: Path) -> bool:
    """Whether a path is a table or a folder with tables."""
    return bool(tables_at(path))


def one_table(path: Path) -> Path:
    """The table at a path; raises InputError if there are several."""
    tables = tables_at(path)
    if len(tables) > 1:
        raise InputError(f"{path}: {len(tables)} tables, expected one; give its path, such as {tables[0]}")
    return tables[0]


def understand_table(path: Path, seed: int) -> OwnData:
    table = one_table(path)
    with naming(table):
        series, horizon, lookback, split = readable(table)

    def prepare(out: Path) -> dict:
        parts = dict(zip(("train", "validation", "test"), split, strict=True))
        content = as_csv(series)
        about = {"rows": len(series), **parts, "sha256": hashlib.sha256(content.encode()).hexdigest()}
        write_text(out / SPLIT, json.dumps(about))
        write_text(out / TABLE, content)
        path = str((out / TABLE).resolve())
        windows = {"lookback": lookback, "horizon": horizon, "split": list(split)}
        return {"path": path, **windows, "batch_size": 64, "max_val_windows": 1024}

    return OwnData(
        task=FORECASTING,
        understood=f"{len(series)} dates of {counted(len(series.names), 'series', 'series')} ({named(series.names)}), "
        f"{split[1]} held out for validation and the last {split[2]} for metamixer test; trains a forecaster of "
        f"{horizon} steps from {lookback}",
        items=split[0],
        val_items=split[1],
        network="ffnet_ts",
        model_class="Forecasting",
        model={
            "variables": len(series.names),
            "lookback": lookback,
            "horizon": horizon,
            "model_args": {"drop_rate": 0.3},
            "optimization": {"name": "adam", "lr": 1e-3, "min_lr": 0.0, "weight_decay": 0.0, "warmup_epochs": 0},
        },
        data_class="SeriesData",
        prepare=prepare,
        most_epochs=20,
    )


def readable(table: Path) -> tuple[Series, int, int, tuple[int, int, int]]:
    """The series without gaps, horizon and lookback about as in `metamixer forecast`, and the rows of each part."""
    measured = fill_gaps(read_frame(read_table(table))[0])
    horizon = horizon_for(measured)
    lookback = lookback_for(len(measured), horizon, Frequency.of(measured).season)
    split = split_windows(len(measured), lookback, horizon)
    if missing := int(np.isnan(measured.values).sum()):
        warnings.warn(f"{counted(missing, 'missing value')} filled with the previous one", InputWarning, stacklevel=3)
    return fill_missing(measured, learned=split[0]), horizon, lookback, split


def horizon_for(series: Series) -> int:
    """The frequency's horizon, at most an eighth of the rows."""
    return min(Frequency.of(series).default_horizon(len(series)), max(len(series) // 8, 1))


def as_csv(series: Series) -> str:
    """A wide table in the layout of `SeriesData`."""
    frame = import_pandas().DataFrame(series.values, columns=list(series.names))
    frame.insert(0, "date", series.times)
    return frame.to_csv(index=False)
