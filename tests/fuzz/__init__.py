"""Seeded mutations of every kind of file that the software reads."""
