"""Images: reading, labels, splits."""
