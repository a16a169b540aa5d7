"""Point clouds: files, scenes, voxels."""
