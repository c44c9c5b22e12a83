"""`tricksearch tricks`: list the tricks, or show one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tricksearch.contract.errors import InputError, nearest


def tricks_command(name: str | None, folders: list[Path]) -> None:
    """List the tricks, or show one."""
    from tricksearch.contract import card, discover, stages
    from tricksearch.study.document import unavailable

    registry = discover(folders)
    console = Console(highlight=False)
    if name is not None:
        if name not in registry:
            raise InputError(f"there is no trick '{name}'", remedy=nearest(name, registry))
        _show_trick(console, registry[name])
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("trick", "claims", "changes", "what it does"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "trick")
    for trick_name, trick in registry.items():
        absent = unavailable(trick_name, registry)
        does = card(trick).does + (f" [not available here: {absent}]" if absent else "")
        table.add_row(trick_name, trick.claims or "-", ", ".join(stages(trick)), Text(does))
    console.print(table)
    console.print("\n'tricksearch tricks NAME' shows a trick's card and its search space.")


def _show_trick(console: Console, trick: Any) -> None:
    from tricksearch.contract import card, defaults, domains, hooks, source_file

    about = card(trick)
    console.print(f"[bold]{about.name}[/]")
    console.print(about.does, markup=False)
    facts = Table.grid(padding=(0, 2))
    for label, content in (
        ("paper", about.paper),
        ("use when", about.use_when),
        ("avoid when", about.avoid_when),
        ("cost", about.cost),
        ("hooks", ", ".join(hooks(trick))),
        ("claims", trick.claims or "-"),
        ("file", str(source_file(trick))),
    ):
        facts.add_row(label, Text(content))
    console.print(facts)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("hyperparameter", "default", "search space"):
        table.add_column(heading)
    values = defaults(trick)
    for field, domain in domains(trick).items():
        space = domain.describe() + ("" if domain.searched else " (searched only where a study lists values)")
        table.add_row(field, Text(json.dumps(values[field])), Text(space))
    console.print()
    console.print(table)
