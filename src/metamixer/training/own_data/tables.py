"""A table of time series."""

from pathlib import Path

from ...data.series.frames import read_frame
from ...data.series.tables import read_table
from ...errors import InputError, naming
from ...models.tasks import FORECASTING
from ...system.files import write_text
from .understood import OwnData, named

SUFFIXES = (".csv", ".gz", ".parquet")
LONGEST = 96
"""Maximum horizon and lookback in steps; shorter tables use less."""

PARTS = (0.8, 0.1, 0.1)


def tables_at(path: Path) -> list[Path]:
    """The table itself, or the tables directly in a folder."""
    if path.is_file():
        return [path] if path.suffix.lower() in SUFFIXES else []
    return sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())


def has_tables(path: Path) -> bool:
    """Whether a path is a table or a folder with tables."""
    return bool(tables_at(path))


def understand_table(path: Path) -> OwnData:
    tables = tables_at(path)
    if len(tables) > 1:
        raise InputError(f"{path}: {len(tables)} tables, expected one; give its path, such as {tables[0]}")
    with naming(tables[0]):
        series, _ = read_frame(read_table(tables[0]))
    rows, variables = len(series), len(series.names)
    horizon = min(LONGEST, int(rows * PARTS[1]))
    lookback = min(LONGEST, rows // 4)
    if horizon < 1 or rows < lookback + 3 * horizon or rows < 20:
        raise InputError(f"{tables[0]}: {rows} dates, expected at least 20 for training and validation")

    def prepare(out: Path, seed: int) -> dict:
        write_text(out / "split.json", f'{{"rows": {rows}, "train": {PARTS[0]}, "validation": {PARTS[1]}}}')
        about = {"path": str(tables[0].resolve()), "lookback": lookback, "horizon": horizon, "split": list(PARTS)}
        return {**about, "batch_size": 64, "max_val_windows": 1024}

    return OwnData(
        FORECASTING,
        f"{rows} dates of {variables} series ({named(series.names)}), a tenth held out for validation and the last "
        f"tenth for testing; trains a forecaster of {horizon} steps",
        int(rows * PARTS[0]),
        int(rows * PARTS[1]),
        "Forecasting",
        {
            "variables": variables,
            "lookback": lookback,
            "horizon": horizon,
            "model_args": {"drop_rate": 0.3},
            "optimization": {"name": "adam", "lr": 1e-3, "min_lr": 0.0, "weight_decay": 0.0, "warmup_epochs": 0},
        },
        "SeriesData",
        prepare,
        most_epochs=20,
    )
