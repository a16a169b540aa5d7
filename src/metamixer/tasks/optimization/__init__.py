"""Optimizers and schedules, one file per recipe."""

from ...moved import moved_names as _moved_names

__getattr__ = _moved_names(__name__)
