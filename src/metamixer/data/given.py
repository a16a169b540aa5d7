"""One or several inputs of a predictor."""

import io
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import InputError


def each_of(given: Any, one: Callable[[Any], Any], *, what: str, expected: str) -> list[Any]:
    """The inputs that `one` returns for each given object, as one flat list.

    what, expected: the noun for one input and the accepted types, for messages. Raises InputError if `given` isn't
    iterable, is the content of a file or an open file, or is empty.
    """
    if not isinstance(given, Iterable) or isinstance(given, bytes | bytearray | memoryview | io.IOBase):
        raise InputError(f"{what} of type {type(given).__name__}, expected {expected}, or a folder or list of these")
    found = [one(each) for each in given]
    if not found:
        raise InputError(f"no {what}s, expected at least one")
    return [each for part in found for each in (part if isinstance(part, list) else [part])]
