"""`train`: from a folder or a table of the user to a trained predictor."""
