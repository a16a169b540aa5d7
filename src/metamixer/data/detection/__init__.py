"""Objects in images: COCO files and their transforms."""
