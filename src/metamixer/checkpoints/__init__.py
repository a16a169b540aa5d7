"""Checkpoints: from a file or a name to a network."""

from ..moved import moved_names as _moved_names

__getattr__ = _moved_names(__name__)
