"""What a file keeps of a forecaster beside its network: the schema, and what must fit together."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, StringConstraints
from torch import nn
from typing_extensions import TypedDict

from ...checkpoints.ours import network_info, save_network
from ...data.series.dates import import_pandas
from ...data.series.frames import Layout
from ...data.series.frequency import Frequency
from ...data.series.windows import Scaling
from ...errors import InputError, first_line
from ...models.tasks import FORECASTING, ZERO_SHOT
from ...system.metadata import Finite, Label, Positive, read_as
from ..predictor import Network
from .fitted import Fitted
from .options import LONGEST_WINDOW

Steps = Annotated[int, Field(ge=1, le=LONGEST_WINDOW)]


class KeptScaling(TypedDict):
    """`data.series.windows.Scaling`."""

    mean: list[Finite]
    std: list[Positive]


class KeptLayout(TypedDict):
    """`data.series.frames.Layout`."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    library: NotRequired[Literal["pandas", "polars"]]
    long: NotRequired[bool]
    time: NotRequired[str]
    zone: NotRequired[str | None]
    local: NotRequired[bool]
    days: NotRequired[bool]
    unit: NotRequired[Literal["s", "ms", "us", "ns"]]
    identifier: NotRequired[Annotated[str, StringConstraints(pattern=r"^(str|u?int\d{1,2}|float\d{2})$")]]


class KeptForecaster(TypedDict):
    """quantiles: margins (horizon, series) by level in percent, None for a series without any."""

    names: Annotated[list[Label], Field(min_length=1)]
    time: str
    scaling: KeptScaling
    layout: NotRequired[KeptLayout]
    quantiles: NotRequired[dict[str, list[list[Finite | None]]]]
    positive: NotRequired[bool]
    fill_gaps: NotRequired[bool]
    frequency: NotRequired[Annotated[str, StringConstraints(max_length=40)]]


class KeptArguments(TypedDict):
    """The keywords of every forecasting network; others are the network's own."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    variables: Steps
    lookback: Steps
    horizon: Steps


class KeptAlone(TypedDict):
    """What a forecaster of each series alone was asked for."""

    __pydantic_config__ = ConfigDict(extra="ignore")  # type: ignore[misc]

    horizon: NotRequired[Steps]
    levels: NotRequired[list[Annotated[float, Field(ge=1, lt=100)]]]
    quantiles: NotRequired[list[Annotated[float, Field(gt=0, lt=1)]]]
    positive: NotRequired[bool]
    fill_gaps: NotRequired[bool]
    time: NotRequired[str | None]


def read_alone(
    info: Mapping[str, Any], given: Mapping[str, Any], *, horizon: int | None, lookback: int | None
) -> dict[str, Any]:
    """The keywords of `Forecaster` for a network that forecasts each series alone.

    given: keywords that replace the file's; horizon: the same; lookback: refused, as such a network has none. Raises
    InputError that names what can't be.
    """
    kept = read_as(KeptAlone, info["preprocessing"] or {}, "forecaster")
    if lookback is not None:
        raise InputError(f"lookback {lookback}, expected none: this network uses the whole past of a series")
    return {**kept, **given, **({} if horizon is None else {"horizon": horizon})}


def read_kept(info: Mapping[str, Any]) -> tuple[KeptForecaster, KeptArguments]:
    """A file's forecaster and its network's keywords; raises InputError that names what is missing or can't be."""
    if not info["preprocessing"]:
        raise InputError("lacks the names and scaling of its series, expected a forecaster that metamixer wrote")
    kept = read_as(KeptForecaster, info["preprocessing"], "forecaster")
    arguments = read_as(KeptArguments, info["model_args"], "model_args")
    series, horizon = arguments["variables"], arguments["horizon"]
    for what, found in (("names", kept["names"]), *kept["scaling"].items()):
        if len(found) != series:
            raise InputError(f"{what} of {len(found)} series, expected {series}, as the network has")
    for level, margins in kept.get("quantiles", {}).items():
        if len(margins) != horizon or any(len(row) != series for row in margins):
            raise InputError(f"quantiles.{level} of {len(margins)} steps, expected {horizon} of {series} series each")
        digits = level.replace(".", "", 1)  # float takes none such as "²"
        if not (digits.isascii() and digits.isdigit()) or not 1 <= float(level) < 100:
            raise InputError(f"quantiles {level!r}, expected percents from 1 to below 100")
    _expect_calendar(kept.get("frequency"), kept.get("layout", {}).get("zone"))
    return kept, arguments


def read_together(
    info: Mapping[str, Any], given: Mapping[str, Any], *, horizon: int | None, lookback: int | None
) -> tuple[Fitted, dict[str, Any]]:
    """The state of a forecaster of a table's series together, and the keywords of `Forecaster` for its network.

    given: keywords that replace the file's, of `positive` and `fill_gaps`; horizon, lookback: as expected. Raises
    InputError for other keywords, and if the network's horizon and lookback differ.
    """
    refused = [name for name in given if name not in ("positive", "fill_gaps")]
    if refused:
        raise InputError(f"{refused[0]}, expected none: the forecaster was trained with its own")
    kept, arguments = read_kept(info)
    own = {name: arguments[name] for name in ("horizon", "lookback")}
    for what, wanted in (("horizon", horizon), ("lookback", lookback)):
        if wanted not in (None, own[what]):
            raise InputError(f"{what} {wanted}, expected {own[what]}, the network's")
    model_args = {name: value for name, value in arguments.items() if name not in ("variables", *own)}
    fitted = fitted_of(kept)
    settings = {"model": info["model"], "model_args": model_args, "levels": tuple(fitted.quantiles)}
    settings |= {"time": None if fitted.layout.long else fitted.layout.time}
    settings |= {"positive": kept.get("positive", False), "fill_gaps": kept.get("fill_gaps", True)}
    return fitted, {**own, **settings, **given}


def keep(fitted: Fitted, asked: Mapping[str, bool]) -> dict[str, Any]:
    """The plain values that a file keeps; asked: see `write_fitted`."""
    kept = {
        "names": list(fitted.names),
        "time": fitted.layout.time,
        "scaling": asdict(fitted.scaling),
        "layout": asdict(fitted.layout),
        "quantiles": {
            f"{level:g}": [[None if math.isnan(margin) else margin for margin in row] for row in quantile]
            for level, quantile in fitted.quantiles.items()
        },
        **asked,
    }
    return kept if fitted.frequency is None else {**kept, "frequency": fitted.frequency.name}


def write_fitted(
    path: str | Path, network: Network, fitted: Fitted, *, model: str, model_args: Mapping[str, Any], **asked: bool
) -> None:
    """Write a fitted forecaster; raises InputError for the network of an exported file.

    asked: `positive` and `fill_gaps` of `Forecaster`.
    """
    expect_weights(path, network)
    args = {"variables": len(fitted.names), **model_args}
    info = network_info(model, args, task=FORECASTING.name, preprocessing=keep(fitted, asked))
    save_network(network, {**info, "fused": True}, path)


def write_alone(path: str | Path, network: Network, wanted: KeptAlone, *, model: str) -> None:
    """Write a network that forecasts each series alone, and the settings of the forecast.

    Raises InputError for the network of an exported file.
    """
    expect_weights(path, network)
    save_network(network, network_info(model, network.settings, task=ZERO_SHOT.name, preprocessing=wanted), path)


def expect_weights(path: str | Path, network: Network) -> None:
    """Raise InputError for the network of an exported file."""
    if not isinstance(network, nn.Module):
        raise InputError(
            f"{path}: the forecaster is from an exported file, expected one from a checkpoint: an exported "
            "file has no weights to save"
        )


def fitted_of(kept: KeptForecaster) -> Fitted:
    """The state that a file describes."""
    return Fitted(
        tuple(kept["names"]),
        Scaling(**{key: tuple(values) for key, values in kept["scaling"].items()}),
        Layout(**kept.get("layout", {"time": kept["time"]})),
        {
            float(level): [[math.nan if margin is None else margin for margin in row] for row in values]
            for level, values in kept.get("quantiles", {}).items()
        },
        Frequency(kept["frequency"]) if "frequency" in kept else None,
    )


def _expect_calendar(frequency: str | None, zone: str | None) -> None:
    """Raise InputError for a frequency or a time zone that pandas doesn't know."""
    pandas = import_pandas()
    for name, value, known in (
        ("frequency", frequency, pandas.tseries.frequencies.to_offset),
        ("layout.zone", zone, pandas.Timestamp("2000-01-01").tz_localize),
    ):
        try:
            if value is not None:
                known(value)
        except Exception as error:  # of pandas, zoneinfo or pytz
            raise InputError(f"{name} {value!r}, expected one that pandas knows ({first_line(error)})") from None
