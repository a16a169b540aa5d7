"""Photographs as cameras and files leave them: blurred, noisy, compressed; and their clean originals."""
