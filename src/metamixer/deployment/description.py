"""The description inside an exported file: network, input shape, version."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError

VERSION = 1
"""Version of the description; files of other versions are refused."""

PRECISIONS = ("fp32", "bf16", "fp16", "int8")
"""All precisions of deploy forms."""

KEY = "metamixer"
"""The metadata key of the description in a file."""

Shape = tuple[int | None, ...]
"""Sizes of a tensor; None for a free size."""

NAMES = {4: ("batch", "channels", "height", "width"), 3: ("batch", "steps", "variables")}


@dataclass(frozen=True)
class Description:
    """shape: of the input; precision: of the computation; network: its info (`network_info`)."""

    precision: str
    shape: Shape = ()
    network: dict[str, Any] = field(default_factory=dict)
    description_version: int = VERSION

    def __post_init__(self):
        sizes = all(size is None or isinstance(size, int) for size in self.shape)
        if self.precision not in PRECISIONS or not sizes or not isinstance(self.network, dict):
            raise InputError(f"description {self}, expected precision, shape and the network's info")

    def to_json(self) -> str:
        """Serialize to JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None, path: Path) -> "Description":
        """The inverse of `to_json`; raises InputError that names the file."""
        if not text:
            raise InputError(f"{path}: has no description of its network, expected a file written by metamixer export")
        try:
            values = json.loads(text)
            version = values["description_version"]
            if version == VERSION:
                return cls(**{**values, "shape": tuple(values["shape"])})
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{path}: its description is invalid, expected a file written by metamixer export"
            ) from None
        raise InputError(f"{path}: description version {version}, expected {VERSION}: export it again")


def show_shape(shape: Shape) -> str:
    """Format a shape for messages: (batch, 3, height, width)."""
    names = NAMES.get(len(shape), [f"size{i}" for i in range(len(shape))])
    return f"({', '.join(name if size is None else str(size) for name, size in zip(names, shape, strict=True))})"
