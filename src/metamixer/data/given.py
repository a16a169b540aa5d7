"""One or several of whatever a predictor takes."""

from collections.abc import Callable, Iterable
from typing import Any

from ..errors import InputError


def each_of(given: Any, one: Callable[[Any], Any], *, what: str, expected: str) -> list[Any]:
    """What `one` makes of each, lists of it laid end to end; what: a word for one in messages, expected: what it may
    be.

    Raises InputError where nothing can be gone through, or there is nothing.
    """
    if not isinstance(given, Iterable):
        raise InputError(f"{what} of type {type(given).__name__}, expected {expected}, or a folder or list of these")
    found = [one(each) for each in given]
    if not found:
        raise InputError(f"no {what}s, expected at least one")
    return [each for part in found for each in (part if isinstance(part, list) else [part])]
