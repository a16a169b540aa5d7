"""One file a recipe of an optimizer."""

from ...moved import moved_names as _moved_names

__getattr__ = _moved_names(__name__)
