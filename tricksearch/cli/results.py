"""`tricksearch report`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console


def report_command(folder: Path) -> None:
    """Write the tables and the report of a run folder again."""
    from tricksearch import api

    page = api.open(folder).write()
    Console(highlight=False).print(f"Wrote {page}", soft_wrap=True)
