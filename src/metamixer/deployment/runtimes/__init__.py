"""Runtimes, one file each: how a network is written, read and run."""
