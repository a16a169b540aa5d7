"""Training by recipes: the command line, the run's folder, and the picture of a run."""
