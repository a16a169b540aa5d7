"""Small tables of series for the tests of forecasting."""

import numpy as np
import pandas

NAMES = ("load", "wind", "price")


def wide(rows=260, frequency="h", names=NAMES, start="2020-01-30 22:00"):
    """A deterministic table of daily waves with noise."""
    random = np.random.RandomState(0)
    steps = np.arange(rows)[:, None]
    waves = np.sin(2 * np.pi * (steps / 24 + np.arange(len(names)) / 7)) * (1 + np.arange(len(names)))
    values = waves + 0.1 * random.standard_normal(waves.shape) + 10 * np.arange(len(names))
    columns = {"date": pandas.date_range(start, periods=rows, freq=frequency)} | dict(zip(names, values.T, strict=True))
    return pandas.DataFrame(columns)


def to_long(table, time="date"):
    """The same table in the layout of Nixtla's libraries."""
    long = table.melt(id_vars=time, var_name="unique_id", value_name="y").rename(columns={time: "ds"})
    return long[["unique_id", "ds", "y"]]


def changed(row, column, value, table=None):
    """A copy of a table with another value in one cell; rows count from 1."""
    table = wide() if table is None else table
    table[column] = table[column].astype(object)
    table.loc[row - 1, column] = value
    return table


def write_table(root):
    """A new folder with a table of three series, 120 rows."""
    root.mkdir()
    wide(120).to_csv(root / "sales.csv", index=False)
    return root
