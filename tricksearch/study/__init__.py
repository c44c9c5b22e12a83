"""The study file: read, checked, compared."""
