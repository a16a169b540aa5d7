"""Training by recipes: the command line, the run's folder, and the picture of a run."""

from ..moved import moved_names as _moved_names

__getattr__ = _moved_names(__name__)
