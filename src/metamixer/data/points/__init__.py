"""Point clouds: reading, scenes, voxels."""
