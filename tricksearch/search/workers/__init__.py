"""Trials on Ray's workers."""
