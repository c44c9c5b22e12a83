"""The command line."""

from tricksearch.cli.app import main

__all__ = ["main"]
