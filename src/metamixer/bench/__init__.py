"""Benchmarks of networks on this machine."""
