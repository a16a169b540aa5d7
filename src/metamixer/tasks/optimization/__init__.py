"""One file a recipe of an optimizer."""
