"""Point clouds: files, scenes, voxels."""

from ...moved import moved_names as _moved_names

__getattr__ = _moved_names(__name__)
