"""Optimizers and schedules, one file per recipe."""
