"""Semantic segmentation: label maps and transforms."""
