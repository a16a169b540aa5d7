"""Fine-tune a network that forecasts each series alone on one table: without the rows held out for the backtest first,
then on every row."""

import math
import warnings

import torch

from ...data.series.frames import Layout
from ...data.series.frequency import Frequency
from ...data.series.splits import borders_of_any
from ...data.series.tables import Series
from ...errors import InputWarning
from ...models.ffnet_ts.zero import FFNetTSZero
from .fine_tuning import FineTuning, fine_tune, tune_on_all_rows
from .fitted import Tuned
from .one_at_a_time import ONE_AT_A_TIME
from .zero_shot import refuse_unusable, seasons_of


def tune(
    network: FFNetTSZero,
    measured: Series,
    layout: Layout,
    *,
    horizon: int,
    settings: FineTuning,
    seed: int,
    device: torch.device,
) -> Tuned:
    """Fine-tune; warns of a table with too few rows, for which the network stays as it is."""
    refuse_unusable(measured, horizon)
    rows, seasons = len(measured), seasons_of(Frequency.of(measured), measured.times[-1])
    borders = borders_of_any(rows, horizon)
    how = {"seasons": seasons, "settings": settings, "seed": seed, "device": device}
    with ONE_AT_A_TIME:
        result = fine_tune(network, measured.values, horizon, borders=borders[:2], **how)
        final = result.network
        if result.kept:
            final = tune_on_all_rows(network, measured.values, horizon, steps=result.steps, **how)
    if math.isnan(result.before):
        warnings.warn(
            f"table of {rows} dates: too few to fine-tune on; the forecast is that of the packaged network",
            InputWarning,
            stacklevel=4,
        )
    return Tuned(result, final, measured, layout, borders)
