"""The result of a forecaster: a table of future values, with its history."""

import io
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ...data.series.frames import from_polars, plain_rows
from ...drawing.figures import save_figure, write_figure
from ...errors import InputError
from ...system.files import plain_table, write_text, written_whole
from ..results import Result

if TYPE_CHECKING:
    from .forecaster import Forecaster


class Forecast(Result):
    """The forecast of one table.

    frame: the table returned by `Forecaster.predict`, of the same type as the input; its columns and methods are
    available on the `Forecast` itself; table: the history; forecaster: the `Forecaster` used.
    """

    def __init__(self, frame: Any, *, table: Any, forecaster: "Forecaster", source: str = "table"):
        self.frame = frame
        self.table = table
        self.forecaster = forecaster
        self.source = source

    @property
    def horizon(self) -> int:
        """The number of steps."""
        return self.forecaster.horizon

    @cached_property
    def pandas(self) -> Any:
        """The forecast as a pandas table."""
        return from_polars(self.frame) if hasattr(self.frame, "to_pandas") else self.frame

    def draw(self) -> Image.Image:
        """A plot of the last rows of each series, the forecast and the intervals."""
        file = io.BytesIO()
        write_figure(self._figure(), file, "png")
        return Image.open(file)

    def _figure(self):
        from .plot import forecast_figure

        return forecast_figure(self.table, self.pandas, self.forecaster)

    def writers(self):
        def draw(path: Path) -> None:
            save_figure(self._figure(), path)

        def write_parquet(path: Path) -> None:
            if find_spec("pyarrow") is None:
                raise InputError(f"{path}: writing Parquet needs pyarrow: pip install pyarrow")
            with written_whole(path) as part:
                self.pandas.to_parquet(part)

        return {
            ".csv": lambda path: write_text(path, plain_table(self.pandas).to_csv(index=False).rstrip("\n")),
            ".parquet": write_parquet,
            ".json": super().writers()[".json"],
            **dict.fromkeys((".png", ".jpg", ".pdf", ".svg"), draw),
        }

    def to_dict(self) -> dict[str, Any]:
        return {"table": self.source, "horizon": self.horizon, "rows": plain_rows(self.pandas)}

    def __str__(self) -> str:
        return f"{self.horizon} steps, {len(self.pandas)} rows"

    def __repr__(self) -> str:
        return f"{super().__repr__()}\n{self.frame}"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "frame":
            raise AttributeError(name)
        return getattr(self.frame, name)

    def __getitem__(self, key: Any) -> Any:
        return self.frame[key]

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self):
        return iter(self.frame)

    def __array__(self, *options, **keywords):
        return self.frame.__array__(*options, **keywords)

    def _repr_html_(self) -> str:
        return self.frame._repr_html_()
