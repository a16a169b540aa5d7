"""What our files say of themselves, judged by one schema before anything is built from it.

The types of a `TypedDict` or a dataclass are the schema; pydantic compares. Whoever reads metadata calls `read_as`.
"""

import json
import math
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, NotRequired, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from ..errors import InputError, shown

T = TypeVar("T")

MAX_JSON = 16 * 2**20
"""Bytes of JSON in a file of weights: names of classes and series, margins of intervals."""
MAX_VALUES, MAX_LEVELS, MAX_TEXT, MAX_NUMBER = 1_000_000, 12, 4_096, 2**53
"""Of plain values: how many, how deep, how long, how large a whole number."""
MAX_WIDTH, MAX_DEPTH = 2**20, 400
"""The largest whole number among a network's keywords, and the most blocks that it may ask for."""


def plain(value: Any, *, level: int = 0) -> Any:
    """The value; raises ValueError where it isn't made of text, finite numbers, lists and mappings of a usual size."""
    if level > MAX_LEVELS:
        raise ValueError(f"at most {MAX_LEVELS} levels")
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise ValueError(f"texts of at most {MAX_TEXT} letters")
    elif isinstance(value, int | float):
        if abs(value) > MAX_NUMBER if isinstance(value, int) else not math.isfinite(value):
            raise ValueError("finite numbers")
    elif isinstance(value, list | tuple | dict):
        if len(value) > MAX_VALUES:
            raise ValueError(f"at most {MAX_VALUES} values")
        for item in value.values() if isinstance(value, dict) else value:
            plain(item, level=level + 1)
        if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
            raise ValueError("names as keys")
    elif value is not None:
        raise ValueError("plain values")
    return value


def keywords(values: dict[str, Any]) -> dict[str, Any]:
    """A network's keywords; raises ValueError for numbers of which no network is made."""

    if any(abs(number) > MAX_WIDTH for _, number in _numbers("", plain(values))):
        raise ValueError(f"numbers of at most {MAX_WIDTH}")
    if blocks(values) > MAX_DEPTH:
        raise ValueError(f"at most {MAX_DEPTH} blocks")
    return values


def blocks(values: Any) -> float:
    """How many blocks a network's keywords ask for, the sum of all depths."""
    return sum(abs(number) for name, number in _numbers("", values) if "depth" in name)


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """The numbers in keywords, each with the key that it stands under."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(key, item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(name, item)
    elif isinstance(value, int | float):
        yield name, value


EXTRA = ("extra_forbidden", "unexpected_keyword_argument")
"""Pydantic's names of a key that the schema doesn't have."""

STRICT = ConfigDict(extra="forbid")
"""For dataclasses: `__pydantic_config__`."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Label = Annotated[str, StringConstraints(max_length=MAX_TEXT)] | int
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Byte = Annotated[int, Field(ge=0, le=255)]
Plain = Annotated[dict[str, Any], AfterValidator(plain)]
Keywords = Annotated[dict[str, Any], AfterValidator(keywords)]


class NetworkInfo(TypedDict):
    """A network's info in a checkpoint or an exported file (`checkpoints.ours.network_info`); tasks add to it."""

    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]

    model: Annotated[str, StringConstraints(max_length=200)]
    model_args: Keywords
    task: Name | None
    classes: NotRequired[Annotated[list[Label], Field(max_length=MAX_VALUES)] | None]
    preprocessing: NotRequired[Plain | None]
    fused: NotRequired[bool]
    version: NotRequired[str]
    category_ids: NotRequired[list[int] | None]
    colours: NotRequired[list[Annotated[list[Byte], Field(min_length=3, max_length=3)]] | None]
    values: NotRequired[list[Annotated[int, Field(ge=0, lt=2**16)]] | None]
    grey_images: NotRequired[bool]


def read_info(values: Any, source: object) -> dict[str, Any]:
    """The complete info of the network in a file; raises InputError that names the file, the key and the value."""
    info = read_as(NetworkInfo, values, f"{source}: metadata")
    try:
        plain(info)
    except ValueError as error:
        raise InputError(f"{source}: metadata of {shown(info)}, expected {error}") from None
    return {"classes": None, "preprocessing": None, "fused": False, **info}


def read_json(text: str | None, source: object) -> Any:
    """JSON of a bounded size and depth; raises InputError that names the file."""
    try:
        if text is None or len(text) > MAX_JSON:
            raise ValueError(f"{len(text or '')} letters")
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        what = "nested too deep" if isinstance(error, RecursionError) else error
        raise InputError(f"{source}: its metadata can't be read ({what}), expected JSON that metamixer wrote") from None


def read_as(kind: type[T], values: Any, name: str) -> T:
    """Values as an instance of `kind`; raises InputError `NAME.KEY VALUE, expected WHAT` for the first that isn't."""
    try:
        return _schema(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join([name, *(str(part) for part in first["loc"] if not _of_a_type(part))])
        told = first.get("ctx", {}).get("error")
        if isinstance(told, InputError):
            raise InputError(str(told) if str(told).startswith(name) else f"{name}: {told}") from None
        if first["type"] in EXTRA:
            raise InputError(f"{place} {shown(first['input'])}, expected no such key") from None
        expected = told or first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        value = "missing" if first["type"] == "missing" else shown(first["input"])
        raise InputError(f"{place} {value}, expected {str(expected)[:1].lower()}{str(expected)[1:]}") from None


@cache
def _schema(kind: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(kind)


def _of_a_type(part: object) -> bool:
    """Whether a part of a place is pydantic's name of a type in a union and no key."""
    return isinstance(part, str) and (part.startswith(("list[", "constrained-", "function-")) or part in ("str", "int"))


def all_finite(*numbers: float) -> bool:
    """Whether all numbers are finite."""
    return all(math.isfinite(number) for number in numbers)
