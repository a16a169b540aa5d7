"""Figures: point clouds, legends, curves."""
