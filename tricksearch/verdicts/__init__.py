"""Designs and statistics, on plain numbers."""
