"""Inference on large inputs in parts: windows, tiles, views."""
