"""metamixer forecast"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import InputError, naming, printable
from ..system.files import check_targets, plain_cell, write_text

if TYPE_CHECKING:
    import pandas


def forecast(
    table: str,
    *,
    horizon: int | None = None,
    lookback: int | None = None,
    out: str = "forecast.csv",
    plot: str | None = None,
    checkpoint: str | None = None,
    save: str | None = None,
    train: Literal["none", "scratch"] | None = None,
    levels: Sequence[float] = (),
    time: str | None = None,
    missing_values: Sequence[float] = (),
    steps: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    overwrite: bool = False,
) -> None:
    """Forecast what comes after a table of series: at once, or after learning from it and testing that on its last
    rows.

    Args:
        table: CSV (gzip too) or Parquet, wide (a column of dates, a column a series) or long (unique_id, ds, y).
        horizon: steps to forecast; 96, or the checkpoint's.
        lookback: steps to forecast from; 96, or the checkpoint's.
        out: the CSV file to write the forecast to.
        plot: the picture to draw.
        checkpoint: a forecaster that `save` or a training run wrote, in place of learning from the table.
        save: the .safetensors file to keep the forecaster in.
        train: none forecasts with the network of the package, scratch learns from the table and backtests; by default
            none, but scratch where lookback, steps or save ask for a network that learns.
        levels: coverage in percent of intervals to give beside, such as 80 95.
        time: the column of dates of a wide table, where it isn't named date, ds, time, timestamp or datetime.
        missing_values: numbers that stand for a missing value, such as -9999.
        steps: steps of training.
        seed: of everything random.
        device: where to compute, such as cpu or cuda.
        overwrite: replace results that exist.
    """
    from ..data.series.tables import find_table, read_table
    from ..drawing.figures import check_figure_name
    from ..predictors.forecast_plot import draw_forecast
    from ..predictors.forecaster import Forecaster, Training
    from ..system.allocator import keep_freed_memory

    for what, name, suffix in (("out", out, ".csv"), ("save", save, ".safetensors")):
        if name and Path(name).suffix != suffix:
            raise InputError(f"{what} {name!r}, expected a name that ends in {suffix}")
    if plot:
        check_figure_name(plot)
    targets = [Path(name) for name in (out, plot, save) if name]
    source = find_table(table)
    check_targets(targets, sources=[source, *([Path(checkpoint)] if checkpoint else [])], overwrite=overwrite)
    keep_freed_memory()
    frame = read_table(table, missing_values=missing_values)
    if checkpoint:
        for name, value in (("levels", levels), ("time", time), ("steps", steps)):
            if value:
                raise InputError(
                    f"{name} {value!r} beside checkpoint {checkpoint}, expected it without: the forecaster has "
                    "learned already"
                )
        forecaster = Forecaster.load(checkpoint, horizon=horizon, lookback=lookback, device=device)
        with naming(source):
            result = forecaster.predict(frame)
    elif (train or ("none" if (lookback, steps, save) == (None, None, None) else "scratch")) == "none":
        for name, value in (("lookback", lookback), ("steps", steps), ("save", save)):
            if value is not None:
                raise InputError(f"{name} {value!r} beside train none, expected it without: nothing is learned")
        forecaster = Forecaster(96 if horizon is None else horizon, levels=levels, time=time, device=device)
        with naming(source):
            result = forecaster.predict(frame)
    else:
        training = Training() if steps is None else Training(steps=steps)
        forecaster = Forecaster(
            96 if horizon is None else horizon,
            lookback=96 if lookback is None else lookback,
            levels=levels,
            time=time,
            training=training,
            seed=seed,
            device=device,
        )
        with naming(source):
            result = forecaster.fit(frame).predict()
        print(printable(forecaster.backtest(), keep="\n"))
    write_text(Path(out), plain_table(result).to_csv(index=False).rstrip("\n"))
    if save:
        forecaster.save(save)
    if plot:
        draw_forecast(frame, result, forecaster, Path(plot))
    print(f"{printable(out)}: {forecaster.horizon} steps, {len(result)} rows")


def plain_table(table: "pandas.DataFrame") -> "pandas.DataFrame":
    """The same without names that a spreadsheet takes for formulas."""
    texts = [name for name in table.columns if not hasattr(table[name], "dt") and table[name].dtype.kind not in "iufM"]
    return table.assign(**{name: table[name].map(plain_cell) for name in texts}).rename(columns=plain_cell)
