"""Errors and warnings caused by the caller's input, and the checks that raise them."""

import difflib
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral

USAGE_ERROR = 2
"""Exit code of the command line for wrong input."""


DIVERGED = 3
"""Exit code of the command line for a diverged training."""


MOST_EPOCHS = 1_000_000
"""Epochs of a training."""

MOST_VALUES = 2**28
"""Values of a network's largest input: a GiB in float32."""


class InputError(ValueError):
    """A file, name or number from the user that can't be used; the command line prints it and exits with 2."""


class DivergenceError(ArithmeticError):
    """A training whose loss or weights aren't finite; the command line prints it in one line and exits with 3."""


class InputWarning(UserWarning):
    """Input that can be used only in part; the command line prints the message without its source location."""


def at_least(name: str, value: float, least: float) -> None:
    """Raise InputError if an option's value is below `least`."""
    if not value >= least:  # so that NaN is refused
        raise InputError(f"{name} {value}, expected at least {least}")


def expect_integer(name: str, value: object, least: int, most: int) -> None:
    """Raise InputError unless an option's value is an integer within these bounds."""
    if not isinstance(value, Integral) or not least <= value <= most:
        raise InputError(f"{name} {value!r}, expected an integer from {least} to {most}")


def expect_odd(name: str, *sizes: int | Sequence[int]) -> None:
    """Raise InputError if one of an option's kernel sizes, or one of its sides, is even: it wouldn't keep the size."""
    sides = (side for size in sizes for side in (size if isinstance(size, Sequence) else [size]))
    if any(side % 2 == 0 for side in sides):
        raise InputError(f"{name} {', '.join(map(str, sizes))}, expected odd sizes of kernels")


def expect_room(name: str, shape: Sequence[int]) -> None:
    """Raise InputError for an input of more values than a network takes at once."""
    if math.prod(shape) > MOST_VALUES:
        raise InputError(f"{name} for an input of {'x'.join(map(str, shape))}, expected at most {MOST_VALUES:,} values")


def is_whole(value: object) -> bool:
    """Whether a value of a JSON or YAML file is an integer."""
    return isinstance(value, int) and not isinstance(value, bool)


def expect_seed(name: str, seed: object) -> None:
    """Raise InputError unless it is a seed that Python, NumPy and PyTorch take."""
    expect_integer(name, seed, 0, 2**32 - 1)


def above_zero(name: str, *values: float) -> None:
    """Raise InputError unless an option has at least one value, all of them finite and above 0."""
    if not values or not all(0 < value < math.inf for value in values):
        expected = "a number" if len(values) == 1 else "numbers"
        raise InputError(f"{name} {', '.join(map(str, values)) or 'of nothing'}, expected {expected} above 0")


def from_zero_to_one(name: str, *values: float) -> None:
    """Raise InputError if one of an option's values isn't between 0 and 1."""
    if not all(0 <= value <= 1 for value in values):
        raise InputError(f"{name} {', '.join(map(str, values))}, expected 0 to 1")


def rising(name: str, values: Sequence[float]) -> None:
    """Raise InputError unless an option is a lower and an upper limit."""
    if len(values) != 2 or not values[0] <= values[1]:
        raise InputError(f"{name} {list(values)}, expected two numbers, the smaller one first")


def shown(value: object, *, most: int = 60) -> str:
    """A value as it stands in messages: strings in quotes, nothing long."""
    text = repr(value[: most + 1] if isinstance(value, str | bytes | list | tuple) else value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def counted(count: int, one: str, several: str | None = None) -> str:
    """A number with its noun: 1 class, 2 classes."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def printable(text: object, *, keep: str = "") -> str:
    """Text without what would steer a terminal or break a line: such characters become \\n, \\x1b and so on."""
    letters = (
        letter if letter.isprintable() or letter in keep else letter.encode("unicode_escape").decode()
        for letter in str(text).encode("utf-8", "backslashreplace").decode()
    )
    return "".join(letters)


def did_you_mean(word: str, known: Iterable[str], *, prefix: str = "", most: int = 1, cutoff: float = 0.6) -> str:
    """`; did you mean X or Y?` with the known words that are similar to a wrong one; empty if there is none.

    prefix: of each suggestion; most: number of suggestions; cutoff: least similarity, 0 to 1.
    """
    near = difflib.get_close_matches(word, list(known), n=most, cutoff=cutoff)
    return f"; did you mean {' or '.join(prefix + each for each in near)}?" if near else ""


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
    """The first line of another library's error message, or the error's type if the message is empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
