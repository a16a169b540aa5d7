"""Checkpoints: from a file or a name to a network."""
