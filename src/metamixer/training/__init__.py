"""Training from recipes: the command line, the run folder, and the plots of a run."""
