"""Which rows of a table train a forecaster, which validate it, and which are held out for the backtest."""

from ...errors import InputError

PARTS = (0.8, 0.1, 0.1)
"""Fractions of the rows for training, for validation and calibration, and for the backtest."""

LOOKBACK, SHORTEST, LONGEST = 96, 8, 336
"""The usual lookback, and the limits of one that follows from a table."""


def lookback_for(rows: int, horizon: int, season: int) -> int:
    """The lookback for a table: 96, or two seasons if that is more, up to 336; less for a short table."""
    return max(min(max(LOOKBACK, 2 * season), LONGEST, rows - 3 * horizon), SHORTEST)


def split_windows(rows: int, lookback: int, horizon: int) -> tuple[int, int, int]:
    """Rows of each part for a network with a fixed lookback; validation and backtest have at least one window's future.

    Raises InputError if there are too few.
    """
    needed = lookback + 3 * horizon
    if rows < needed:
        raise InputError(
            f"table of {rows} dates, expected at least {needed}: lookback {lookback} + horizon "
            f"{horizon} for training, and another horizon each for validation and backtest"
        )
    most = (rows - lookback - horizon) // 2
    held = [min(max(int(rows * part), horizon), most) for part in PARTS[1:]]
    return rows - sum(held), held[0], held[1]


def borders_of_any(rows: int, horizon: int) -> tuple[int, int, int]:
    """The end rows of the parts for a network that takes any number of rows."""
    held = [min(max(int(rows * part), horizon), rows // 3) for part in PARTS[1:]]
    return rows - sum(held), rows - held[1], rows
