"""Training on data of one's own: what a folder is (`kinds`), one file a kind, and the training itself (`training`)."""
