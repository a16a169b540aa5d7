"""Predictors, one file each: from a checkpoint and a user's input to results."""
