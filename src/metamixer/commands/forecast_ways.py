"""The ways to forecast of `metamixer forecast`: by a checkpoint, zero-shot, fine-tuned or trained from scratch."""

from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .output import Output
from .progress import working

if TYPE_CHECKING:
    from ..predictors.forecasting.forecaster import Forecaster


def forecaster_of(
    train: str | None,
    horizon: int | None,
    *,
    checkpoint: str | None,
    backend: str | None,
    lookback: int | None,
    steps: int | None,
    save: str | None,
    seed: int,
    **settings: Any,
) -> tuple[str, "Forecaster"]:
    """The way and its forecaster: checkpoint, none, finetune or scratch; raises InputError for unused options."""
    if checkpoint:
        refuse_without_training(f"checkpoint {checkpoint}", train=None if train == "none" else train, steps=steps)
        return "checkpoint", loaded_forecaster(checkpoint, horizon, lookback, backend, **settings)
    way = way_of_training(train, backend=backend, lookback=lookback, steps=steps, save=save)
    return way, new_forecaster(way, horizon, lookback, steps, seed=seed, **settings)


def loaded_forecaster(
    checkpoint: str,
    horizon: int | None,
    lookback: int | None,
    backend: str | None,
    *,
    device: str,
    fill_gaps: bool,
    **settings: Any,
) -> "Forecaster":
    """The forecaster of a checkpoint; settings that aren't given are its own."""
    from ..predictors.forecasting.forecaster import Forecaster

    given = {name: value for name, value in settings.items() if value not in (None, False, (), [])}
    place = {"horizon": horizon, "lookback": lookback, "device": device, "backend": backend}
    if not fill_gaps:
        given["fill_gaps"] = False
    return Forecaster.load(checkpoint, **place, **given)


def new_forecaster(
    way: str, horizon: int | None, lookback: int | None = None, steps: int | None = None, **settings: Any
) -> "Forecaster":
    """A forecaster that is trained in this way, or not."""
    from ..predictors.forecasting.forecaster import Forecaster

    return Forecaster(horizon, **settings, **how_to_train(way, lookback, steps))


def way_of_training(train: str | None, *, backend: str | None, **scratch: object) -> str:
    """The way without a checkpoint: as asked, else from scratch if one of its options is given, else none."""
    if backend is not None:
        raise InputError(f"backend {backend!r} without --checkpoint, expected none: only a checkpoint uses one")
    way = train or ("none" if all(value is None for value in scratch.values()) else "scratch")
    if way == "none":
        refuse_without_training("train none", **scratch)
    return way


def refuse_without_training(what: str, **options: object) -> None:
    """Raise InputError that names the first option given, which has no effect with `what`."""
    for name, value in options.items():
        if value not in (None, (), []):
            raise InputError(f"{name} {value!r} with {what}, expected none: nothing is trained")


def how_to_train(way: str, lookback: int | None, steps: int | None) -> dict[str, Any]:
    """Keywords of `Forecaster` for an option `train`."""
    from ..predictors.forecasting.fine_tuning import FineTuning
    from ..predictors.forecasting.options import Training

    counted = {} if steps is None else {"steps": steps}
    if way == "scratch":
        return {"train": way, "lookback": lookback, "training": Training(**counted)}
    if lookback is not None:
        raise InputError(f"lookback {lookback} with train {way}, expected it with train scratch only")
    return {"fine_tuning": FineTuning(**counted)}


def forecast_by(way: str, forecaster: "Forecaster", frame: Any, output: Output) -> Any:
    """Forecast a table; a way of training trains on it first, and prints the backtest."""
    from ..predictors.forecasting.options import TRAIN

    if way not in TRAIN:
        return forecaster.predict(frame)
    with working("training"):
        forecaster.fit(frame)
    if forecaster.tuned:
        output.say(forecaster.tuned)
    output.say(forecaster.backtest())
    return forecaster.predict()
