"""Deployment: export to other runtimes' formats with verified outputs, and the fastest form on this machine."""
