"""A class for each pixel: label maps and their transforms."""
