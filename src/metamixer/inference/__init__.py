"""A large input in parts, back together."""
