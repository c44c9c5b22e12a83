"""What `dashboard` does. Apart from app.py, so that `--help` imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console


def dashboard_command(folder: Path, port: int, no_serve: bool) -> None:
    """OptunaMirror a run's store for Optuna's dashboard, and serve it until Ctrl-C."""
    from tricksearch.search.dashboard import serve, write_mirror

    console = Console(highlight=False)
    if no_serve:
        path, count = write_mirror(folder)
        console.print(f"Wrote {path}: {count:,} records. sqlite:///{path} is its URL for Optuna.", soft_wrap=True)
        return
    try:
        serve(folder, port, lambda line: console.print(line, markup=False, soft_wrap=True))
    except KeyboardInterrupt:
        console.print("The dashboard has ended; the run and its store are as they were.")
