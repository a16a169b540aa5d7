"""Training from recipes: the command line, the run folder, and the plots of a run."""

from ..moved import find_moved_names as _find_moved_names

_find_moved_names(__name__)
