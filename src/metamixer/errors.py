"""The one exception that means: what you gave me is wrong, not what I did with it."""


class InputError(ValueError):
    """A file, name or number from outside that cannot be used; the command line prints it as one line and exits with 2."""
