"""Object detection: COCO files and transforms."""
