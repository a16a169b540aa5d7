"""What means: what you gave me is wrong, not what I did with it."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

USAGE_ERROR = 2
"""The command line's exit code where its input is wrong."""


DIVERGED = 3
"""The command line's exit code where a training diverged."""


class InputError(ValueError):
    """A file, name or number from outside that cannot be used; the command line prints it as one line and exits with
    2.
    """


class DivergenceError(ArithmeticError):
    """A training whose loss or weights are no finite numbers; the command line prints it as one line and exits with
    3.
    """


class InputWarning(UserWarning):
    """What was given can be used but for a part; the command line prints the message without the place in the
    source.
    """


def at_least(name: str, value: float, least: float) -> None:
    """Raise InputError where an option's number is too small."""
    if value < least:
        raise InputError(f"{name} {value}, expected at least {least}")


def above_zero(name: str, *values: float) -> None:
    """Raise InputError where one of an option's numbers is no size, rate or factor, or where there is none."""
    if not values or not all(0 < value < math.inf for value in values):
        expected = "a number" if len(values) == 1 else "numbers"
        raise InputError(f"{name} {', '.join(map(str, values)) or 'of nothing'}, expected {expected} above 0")


def from_zero_to_one(name: str, *values: float) -> None:
    """Raise InputError where one of an option's numbers is no share or probability."""
    if not all(0 <= value <= 1 for value in values):
        raise InputError(f"{name} {', '.join(map(str, values))}, expected 0 to 1")


def rising(name: str, values: Sequence[float]) -> None:
    """Raise InputError where an option isn't a lower and an upper limit."""
    if len(values) != 2 or not values[0] <= values[1]:
        raise InputError(f"{name} {list(values)}, expected two numbers, the smaller one first")


def shown(value: object, *, most: int = 60) -> str:
    """A value as it stands in messages: strings in quotes, nothing long."""
    text = repr(value[: most + 1] if isinstance(value, str | bytes | list | tuple) else value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def printable(text: object, *, keep: str = "") -> str:
    """Text without what would steer a terminal or break a line: such characters become \\n, \\x1b and so on."""
    letters = (
        letter if letter.isprintable() or letter in keep else letter.encode("unicode_escape").decode()
        for letter in str(text).encode("utf-8", "backslashreplace").decode()
    )
    return "".join(letters)


@contextmanager
def naming(source: object) -> Iterator[None]:
    """Name a file in the InputErrors about what it holds, and make one of whatever else goes wrong with it."""
    try:
        yield
    except InputError as error:
        raise error if str(source) in str(error) else InputError(f"{source}: {error}") from None
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a library that trips over one file
        raise InputError(f"{source}: can't be used ({type(error).__name__}: {first_line(error)})") from error


def first_line(error: Exception) -> str:
    """What another library's error says, in one line; its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
