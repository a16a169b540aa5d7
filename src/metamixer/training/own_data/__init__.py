"""Training on the user's own data: the kinds of data (`kinds`), one file per kind, and the training (`training`)."""
