"""Pairs of a small and a large image."""
