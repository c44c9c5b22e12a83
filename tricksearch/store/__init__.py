"""A run folder: one truth, one holder."""
