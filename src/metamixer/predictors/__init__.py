"""One file a predictor: from a checkpoint and the user's files to results."""
