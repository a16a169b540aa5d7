"""Pairs of a small and a large image."""

from ...moved import find_moved_names as _find_moved_names

_find_moved_names(__name__)
