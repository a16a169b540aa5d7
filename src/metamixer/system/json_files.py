"""Standard JSON, which has neither NaN nor infinity."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import write_text


def json_text(value: Any, *, indent: int | None = 1) -> str:
    """A result as JSON, with null in place of NaN and infinity."""
    return json.dumps(standard(value), indent=indent, allow_nan=False)


def write_json(path: str | Path, value: Any, *, indent: int | None = 1) -> None:
    """Write a file of `json_text`."""
    write_text(path, json_text(value, indent=indent))


def standard(value: Any) -> Any:
    """Plain values with None in place of NaN and infinity."""
    if isinstance(value, Mapping):
        return {name: standard(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [standard(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
