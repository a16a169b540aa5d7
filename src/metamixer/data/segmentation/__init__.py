"""A class for each pixel: label maps and their transforms."""

from ...moved import moved_names as _moved_names

__getattr__ = _moved_names(__name__)
