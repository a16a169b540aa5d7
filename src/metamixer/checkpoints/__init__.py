"""Checkpoints: from a file or a name to a network."""

from ..moved import find_moved_names as _find_moved_names

_find_moved_names(__name__)
