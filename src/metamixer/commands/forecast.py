"""metamixer forecast"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..errors import InputError
from ..system.files import check_targets, write_text


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
    """Forecast a table of series, zero-shot or by training on it with a backtest on its last rows.

    Args:
        table: CSV (may be gzipped) or Parquet, wide (a date column, one column per series) or long (unique_id, ds, y).
        horizon: steps to forecast; default: 96, or the checkpoint's.
        lookback: steps of input; default: 96, or the checkpoint's.
        out: the CSV file for the forecast.
        plot: the image file for a plot.
        checkpoint: a forecaster written by --save or a training run, instead of training on the table.
        save: the .safetensors file for the trained forecaster.
        train: none forecasts zero-shot with the packaged network, scratch trains on the table and backtests; default:
            scratch if lookback, steps or save is given, else none.
        levels: coverage in percent of prediction intervals, such as 80 95.
        time: the date column of a wide table, if it isn't named date, ds, time, timestamp or datetime.
        missing_values: numbers that mark a missing value, such as -9999.
        steps: training steps.
        seed: random seed.
        device: the device to compute on, such as cpu or cuda.
        overwrite: replace existing results.
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
    check_targets(
        targets, sources=[find_table(table), *([Path(checkpoint)] if checkpoint else [])], overwrite=overwrite
    )
    keep_freed_memory()
    frame = read_table(table, missing_values=missing_values)
    if checkpoint:
        for name, value in (("levels", levels), ("time", time), ("steps", steps)):
            if value:
                raise InputError(
                    f"{name} {value!r} with checkpoint {checkpoint}, expected none: the forecaster is already trained"
                )
        forecaster = Forecaster.load(checkpoint, horizon=horizon, lookback=lookback, device=device)
        result = forecaster.predict(frame)
    elif (train or ("none" if (lookback, steps, save) == (None, None, None) else "scratch")) == "none":
        for name, value in (("lookback", lookback), ("steps", steps), ("save", save)):
            if value is not None:
                raise InputError(f"{name} {value!r} with train none, expected none: nothing is trained")
        forecaster = Forecaster(96 if horizon is None else horizon, levels=levels, time=time, device=device)
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
        result = forecaster.fit(frame).predict()
        print(forecaster.backtest())
    write_text(Path(out), result.to_csv(index=False).rstrip("\n"))
    if save:
        forecaster.save(save)
    if plot:
        draw_forecast(frame, result, forecaster, Path(plot))
    print(f"{out}: {forecaster.horizon} steps, {len(result)} rows")
