"""Drawing: figures, point clouds, legends."""
