"""How `train` reads a table of series."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field

from ...errors import InputError
from ...system.metadata import STRICT, Finite, Name

MOST_STEPS = 2**20


@dataclass(frozen=True)
class Reading:
    """Options for a table.

    missing_values: numbers that mark missing values; time: the date column, None: by its name; horizon: steps to
    forecast, None: by the frequency.
    """

    __pydantic_config__ = STRICT

    missing_values: tuple[Finite, ...] = ()
    time: Name | None = None
    horizon: Annotated[int, Field(ge=1, le=MOST_STEPS)] | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The options that differ from the defaults, as plain values."""
        found = {name: value for name, value in asdict(self).items() if value not in ((), None)}
        return found | {name: list(value) for name, value in found.items() if isinstance(value, tuple)}

    def refuse(self, *names: str, why: str) -> None:
        """Raise InputError for one of these options, or any if none is named, that was given."""
        for name, value in self.given.items():
            if name in names or not names:
                raise InputError(f"{name} {value!r} {why}")
