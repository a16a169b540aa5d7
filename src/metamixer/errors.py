"""What means: what you gave me is wrong, not what I did with it."""

USAGE_ERROR = 2
"""The command line's exit code where its input is wrong."""


class InputError(ValueError):
    """A file, name or number from outside that cannot be used; the command line prints it as one line and exits with 2."""


class InputWarning(UserWarning):
    """What was given can be used but for a part; the command line prints the message without the place in the source."""


def at_least(name: str, value: float, least: float) -> None:
    """Raise InputError where an option's number is too small."""
    if value < least:
        raise InputError(f"{name} {value}, expected at least {least}")


def first_line(error: Exception) -> str:
    """What another library's error says, in one line; its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
