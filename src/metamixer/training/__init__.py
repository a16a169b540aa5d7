"""Training from recipes: the command line, the run folder, and the plots of a run."""

from ..moved import moved_names as _moved_names

__getattr__ = _moved_names(__name__)
