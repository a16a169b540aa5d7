"""Timing networks in every form on this machine."""
