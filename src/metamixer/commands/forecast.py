"""metamixer forecast"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InputError, naming
from ..system.files import check_targets, free_name, plain_table, write_text
from .engine import forecast_tables, refuse_with_engine
from .forecast_parts import forecast_parts
from .forecast_ways import forecast_by, forecaster_of, new_forecaster
from .output import Output

if TYPE_CHECKING:
    from ..predictors.forecasting.forecaster import Forecaster

NEXT = {
    "checkpoint": "add --json - to print the forecast for other programs",
    "none": "add --train finetune to learn from the table, with a backtest",
}
"""What to do next, by the way to forecast."""


def forecast(
    table: str,
    *,
    horizon: int | None = None,
    lookback: int | None = None,
    out: str | None = None,
    plot: str | None = None,
    checkpoint: str | None = None,
    save: str | None = None,
    train: Literal["none", "finetune", "scratch"] | None = None,
    levels: Sequence[float] = (),
    quantiles: Sequence[float] = (),
    positive: bool = False,
    json: str | None = None,
    time: str | None = None,
    missing_values: Sequence[float] = (),
    steps: int | None = None,
    seed: int = 0,
    backend: str | None = None,
    device: str = "cpu",
    overwrite: bool = False,
    engine: str | None = None,
    fill_gaps: bool = True,
    known: Sequence[str] = (),
) -> None:
    """Forecast a table of time series, zero-shot or after training on it with a backtest on its last rows.

    Args:
        table: CSV (may be gzipped) or Parquet, or its https URL; wide (a date column, one column per series) or long
            (unique_id, ds, y).
        horizon: steps to forecast; default: the checkpoint's, else 48 for hourly data, 28 daily, 13 weekly, 18 monthly,
            8 quarterly, 6 yearly, for others a tenth of the rows up to 96; with an engine 96.
        lookback: steps of input; default: the checkpoint's, else 96, or two seasons up to 336 if that is more, and less
            for a short table.
        out: the CSV file to write the forecast to; default: forecast.csv, or forecast_2.csv if that exists; none with
            --json -.
        plot: the image file for a plot.
        checkpoint: a forecaster written by --save, export or a training run.
        save: the .safetensors file for the trained forecaster.
        train: none forecasts zero-shot with the packaged network; finetune fine-tunes it, and keeps the result if
            validation improves; scratch trains a new network; the latter two backtest. Default: scratch if lookback,
            steps or save is given, else none.
        levels: coverage in percent of prediction intervals, such as 80 95.
        quantiles: quantiles to add, such as 0.1 0.9; not with scratch.
        positive: clip the forecast and its intervals at zero.
        time: the date column of a wide table, if it isn't named date, ds, time, timestamp or datetime.
        missing_values: numbers that mark a missing value, such as -9999.
        steps: training steps.
        seed: random seed.
        backend: openvino, onnxruntime, compile, eager, or auto for the fastest; for a checkpoint; default: PyTorch.
        engine: local, ray or ray:ACTORS, for a long table of very many series, a URL too: each is forecast
            alone, with results as Parquet in the folder `out`; the same command continues a stopped job.
        fill_gaps: add missing rows to the table, with a warning; --no_fill_gaps refuses such a table.
        known: columns of a wide table that are known in the future; its last rows hold only them. Used for a series
            where they lower the loss on its last rows; only without training.
        all others: see shared_options.py.
    """
    from ..data.series.frames import plain_rows
    from ..data.series.tables import find_table, read_table
    from ..system.allocator import keep_freed_memory

    if engine:
        without = {"checkpoint": checkpoint, "lookback": lookback, "steps": steps, "save": save, "plot": plot}
        without |= {"json": json, "backend": backend, "time": time, "no_fill_gaps": not fill_gaps, "positive": positive}
        without |= {"known": tuple(known)}
        refuse_with_engine(engine, **without, train=None if train == "none" else train)
        how = {"levels": levels, "quantiles": quantiles, "missing_values": missing_values, "device": device}
        forecast_tables(engine, [table], out, horizon=horizon, overwrite=overwrite, **how)
        return
    out = out or (None if json == "-" else free_name("forecast.csv", overwrite=overwrite))
    targets = expect_targets(out=out, plot=plot, save=save)
    source = find_table(table)
    check_targets(targets, sources=[source, *([Path(checkpoint)] if checkpoint else [])], overwrite=overwrite)
    output = Output(json, sources=[source], results=targets, overwrite=overwrite)
    keep_freed_memory()
    settings = {"levels": levels, "quantiles": quantiles, "time": time, "positive": positive, "known": known}
    settings |= {"device": device, "fill_gaps": fill_gaps}
    chosen = "" if horizon or checkpoint else " (chosen by the dates; --horizon sets another)"
    whole = checkpoint, backend, plot, save, json, steps, lookback, train not in (None, "none"), known
    if out and not any(whole):
        forecaster = new_forecaster("none", horizon, seed=seed, **settings)
        if rows := forecast_parts(forecaster, source, Path(out), missing_values=missing_values):
            by = f"{forecaster.column}, without training, read in parts: "
            output.say(f"{by}{forecaster.horizon} steps{chosen}, {rows} rows")
            output.end([], wrote=targets)
            return
    frame = read_table(table, missing_values=missing_values)
    options = {"checkpoint": checkpoint, "backend": backend, "lookback": lookback, "steps": steps, "save": save}
    way, forecaster = forecaster_of(train, horizon, seed=seed, **options, **settings)
    with naming(source):
        result = forecast_by(way, forecaster, frame, output)
    write_forecast(forecaster, frame, result, out=out, save=save, plot=plot)
    by = f"{forecaster.column}, without training: " if way == "none" else ""
    output.say(f"{by}{forecaster.horizon} steps{chosen}, {len(result)} rows")
    then = NEXT.get(way, "") if plot else "add --plot forecast.png to draw it"
    output.end(plain_rows(result) if json else [], wrote=targets, then=then)


def expect_targets(*, out: str | None, plot: str | None, save: str | None) -> list[Path]:
    """The files to write; raises InputError for a name with a wrong ending."""
    from ..drawing.figures import check_figure_name

    for what, name, suffix in (("out", out, ".csv"), ("save", save, ".safetensors")):
        if name and Path(name).suffix != suffix:
            raise InputError(f"{what} {name!r}, expected a name that ends in {suffix}")
    if plot:
        check_figure_name(plot)
    return [Path(name) for name in (out, plot, save) if name]


def write_forecast(
    forecaster: "Forecaster", table: Any, result: Any, *, out: str | None, save: str | None, plot: str | None
) -> None:
    """Write the files that are asked for."""
    from ..predictors.forecasting.plot import draw_forecast

    if out:
        write_text(Path(out), plain_table(result).to_csv(index=False).rstrip("\n"))
    if save:
        forecaster.save(save)
    if plot:
        draw_forecast(table, result, forecaster, Path(plot))
