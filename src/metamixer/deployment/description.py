"""What an exported file says of itself: which network, which input, which version."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import InputError, shown
from ..system.metadata import STRICT, Plain, read_as, read_json

VERSION = 1
"""Of the description; a file of another version is refused."""

PRECISIONS = ("fp32", "bf16", "fp16", "int8")
"""What a network can be made to compute in."""

KEY = "metamixer"
"""The name under which a file keeps its description."""

Shape = tuple[int | None, ...]
"""Sizes of a tensor; None where any will do."""

NAMES = {4: ("batch", "channels", "height", "width"), 3: ("batch", "steps", "variables")}


@dataclass(frozen=True)
class Description:
    """shape: what the file takes; precision: what it computes in; network: what a checkpoint tells of it
    (`network_info`).
    """

    __pydantic_config__ = STRICT

    precision: str
    shape: Shape = ()
    network: Plain = field(default_factory=dict)
    description_version: int = VERSION

    def __post_init__(self):
        sizes = all(size is None or (isinstance(size, int) and 0 < size < 2**31) for size in self.shape)
        if self.precision not in PRECISIONS or not sizes or not isinstance(self.network, dict):
            raise InputError(f"description {shown(self)}, expected precision, shape and what is known of the network")

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None, path: Path) -> "Description":
        """The inverse; raises InputError that names the file."""
        if not text:
            raise InputError(f"{path}: doesn't say which network it holds, expected a file that metamixer export wrote")
        try:
            values = read_json(text, path)
            version = values["description_version"]
            if version == VERSION:
                return read_as(cls, values, f"{path}: description")
        except (KeyError, TypeError):
            raise InputError(
                f"{path}: its description can't be read, expected a file that metamixer export wrote"
            ) from None
        raise InputError(
            f"{path}: written as version {version} of its description, expected {VERSION}: export it again"
        )


def show_shape(shape: Shape) -> str:
    """A shape for a message: (batch, 3, height, width)."""
    names = NAMES.get(len(shape), [f"size{i}" for i in range(len(shape))])
    return f"({', '.join(name if size is None else str(size) for name, size in zip(names, shape, strict=True))})"
