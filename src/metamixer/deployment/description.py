"""The description inside an exported file: network, input shape, version."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import InputError, expect_room, shown
from ..system.metadata import STRICT, Plain, read_as, read_json

VERSION = 1
"""Version of the description; files of other versions are refused."""

PRECISIONS = ("fp32", "bf16", "fp16", "int8")
"""All precisions of deploy forms."""

KEY = "metamixer"
"""The metadata key of the description in a file."""

Shape = tuple[int | None, ...]
"""Sizes of a tensor; None for a free size."""

MOST_DIMENSIONS = 8
"""Of an input's shape."""

NAMES = {4: ("batch", "channels", "height", "width"), 3: ("batch", "steps", "variables")}


@dataclass(frozen=True)
class Description:
    """shape: of the input; precision: of the computation; network: its info (`network_info`)."""

    __pydantic_config__ = STRICT

    precision: str
    shape: Shape = ()
    network: Plain = field(default_factory=dict)
    description_version: int = VERSION

    def __post_init__(self):
        sizes = all(size is None or (isinstance(size, int) and 0 < size < 2**31) for size in self.shape)
        known = self.precision in PRECISIONS and isinstance(self.network, dict)
        if not known or not sizes or len(self.shape) > MOST_DIMENSIONS:
            raise InputError(f"description {shown(self)}, expected precision, shape and the network's info")
        expect_room("shape", [size or 1 for size in self.shape])

    def to_json(self) -> str:
        """Serialize to JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None, path: Path) -> "Description":
        """The inverse of `to_json`; raises InputError that names the file."""
        if not text:
            raise InputError(f"{path}: has no description of its network, expected a file written by metamixer export")
        try:
            values = read_json(text, path)
            version = values["description_version"]
            if version == VERSION:
                return read_as(cls, values, f"{path}: description")
        except (KeyError, TypeError):
            raise InputError(
                f"{path}: its description is invalid, expected a file written by metamixer export"
            ) from None
        raise InputError(f"{path}: description version {version}, expected {VERSION}: export it again")


def show_shape(shape: Shape) -> str:
    """Format a shape for messages: (batch, 3, height, width)."""
    names = NAMES.get(len(shape), [f"size{i}" for i in range(len(shape))])
    return f"({', '.join(name if size is None else str(size) for name, size in zip(names, shape, strict=True))})"
