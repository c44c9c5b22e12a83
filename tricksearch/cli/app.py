"""The commands. Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal

import typer

from tricksearch.cli.say import say
from tricksearch.contract.errors import InputError, TrialError

app = typer.Typer(
    name="tricksearch",
    help="Which training and deployment tricks are worth it here? Searches tricks, measures what would be deployed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

INTERRUPTED = 130

# typer carries its own copy of click, or uses the installed one, depending on its version.
USAGE_ERROR: type[Exception] = next(
    error_class for error_class in typer.BadParameter.__mro__ if error_class.__name__ == "UsageError"
)

# What each does is told to whoever needs it by the error that names them; see store/changed_code.py.
CHANGED_TRICKS = Annotated[
    Literal["keep", "set-aside"] | None,
    typer.Option(
        help="Go on where a trick's code has changed. [bold]set-aside[/]: records with it stay in the store and no "
        "longer count, and what the study wants of them runs again. [bold]keep[/]: they count as they are, and the "
        "report says so; for a change that cannot alter a result. Comments, docstrings and error texts may change "
        "without this.",
        show_default="refuse",
    ),
]
STUDY = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file (YAML).", show_default=False)]


def _show_version(wanted: bool) -> None:
    if wanted:
        import tricksearch

        typer.echo(f"tricksearch {tricksearch.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks. May stand anywhere in the command.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    # `main` takes --debug out of the arguments; it stands here to be shown by --help.
    del debug, version


@app.command()
def run(
    study: STUDY,
    out: Annotated[Path | None, typer.Option(help="The run folder.", show_default="runs/<study name>")] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="Trials in all, an earlier run's included.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="Seed of the search and of its trials.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Trials at a time.", show_default="as many as fit")] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster of which this machine is a node; see docs/cluster.md.")
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="One trial after another in this process, without Ray.")
    ] = False,
    reproducible: Annotated[
        bool, typer.Option("--reproducible", help="Ask in batches: the same recipes in each run of the same seed.")
    ] = False,
    phases: Annotated[
        str | None, typer.Option(help="Run only these, as in 'search' or 'screen,search'.", show_default="the study's")
    ] = None,
    changed_tricks: CHANGED_TRICKS = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing when all goes well.")] = False,
) -> None:
    """Run a study, or go on with one that was interrupted."""
    from tricksearch.cli.run import RunOptions, StudyOptions, run_command

    options = RunOptions(out, workers, address, local, quiet, changed_tricks)
    run_command(study, StudyOptions(trials, seed, reproducible, phases), options)


@app.command()
def ablate(
    study: STUDY,
    around: Annotated[
        str | None,
        typer.Option(help="The recipe: knee, best, a record's id, or a recipe's file.", show_default="the study's"),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=2, max=10_000, help="Runs of each arm.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder.", show_default="runs/<study name>")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Trials at a time.", show_default="as many as fit")] = None,
    local: Annotated[
        bool, typer.Option("--local", help="One trial after another in this process, without Ray.")
    ] = False,
    changed_tricks: CHANGED_TRICKS = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing when all goes well.")] = False,
) -> None:
    """Run the arms around one recipe: without each of its tricks, with each alone, and the ladder."""
    from tricksearch.cli.run import RunOptions, ablate_command

    options = RunOptions(out, workers, local=local, quiet=quiet, changed_tricks=changed_tricks)
    ablate_command(study, around, seeds, options)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run folder, finished or not.", show_default=False)],
) -> None:
    """Write a run's tables and report.html again from its store."""
    from tricksearch.cli.results import report_command

    report_command(folder)


@app.command()
def verdicts(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, finished or not.", show_default=False)],
) -> None:
    """Say of every trick whether it helps here, and write verdicts.csv."""
    from tricksearch.cli.verdicts import verdicts_command

    verdicts_command(folder)


@app.command()
def plan(
    study: STUDY,
    sd: Annotated[
        float | None, typer.Option(min=1e-6, max=100, help="Standard deviation of accuracy over seeds, in points.")
    ] = None,
    like: Annotated[
        Path | None, typer.Option(metavar="RUN", help="A run folder to take noise and time from.", show_default=False)
    ] = None,
) -> None:
    """How many runs does the study's screen need? Trains nothing."""
    from tricksearch.cli.plan import plan_command

    plan_command(study, sd, like)


@app.command()
def tricks(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show this trick's card.", show_default=False)
    ] = None,
    plugins: Annotated[list[Path] | None, typer.Option(help="A folder of further tricks.")] = None,
) -> None:
    """List the tricks, or show the card and the search space of one."""
    from tricksearch.cli.tricks import tricks_command

    tricks_command(name, plugins or [])


@app.command()
def check(study: STUDY) -> None:
    """Check a study: its file, data, net and tricks. Trains nothing."""
    from tricksearch.cli.inspect import check_command

    check_command(study)


@app.command()
def trial(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe file (YAML).", show_default=False)],
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="The trial's seed.", show_default="the recipe's, or 0")
    ] = None,
) -> None:
    """Run one trial in this process, without Ray, and print what was measured."""
    from tricksearch.cli.inspect import trial_command

    trial_command(recipe, seed)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)],
    pick: Annotated[
        str, typer.Option(help="Which record: knee, best, a limit such as 'latency_ms<=2', or its id.")
    ] = "knee",
    to: Annotated[Path | None, typer.Option(help="The new folder.", show_default="RUN/export/<id>")] = None,
) -> None:
    """Write a record's model to a folder that runs without tricksearch."""
    from tricksearch.cli.ship import export_command

    export_command(folder, pick, to)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An exported folder.", show_default=False)],
) -> None:
    """Measure an exported folder again and compare it with its record."""
    from tricksearch.cli.ship import verify_command

    verify_command(folder)


@app.command()
def cache(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run folder or a cache.", show_default=False)],
    keep: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Drop what was used longest ago: 5GB, 500MB, 0.")
    ] = None,
) -> None:
    """Show what a cache of stages holds, or prune it."""
    from tricksearch.cli.ship import cache_command

    cache_command(folder, keep)


@app.command()
def dashboard(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, finished or not.", show_default=False)],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its port on this machine; 0 takes a free one.")] = 8080,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="Only write RUN/optuna.db, an Optuna storage.")] = False,
) -> None:
    """Show a run in optuna-dashboard, on this machine alone, until Ctrl-C."""
    from tricksearch.cli.dashboard import dashboard_command

    dashboard_command(folder, port, no_serve)


@app.command()
def doctor() -> None:
    """Show versions, devices, and what is missing."""
    from tricksearch.cli.inspect import doctor_command

    doctor_command()


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    os.environ["TRICKSEARCH_DEBUG"] = "1" if debug else ""
    _interrupt_on(signal.SIGTERM)
    _interrupt_on(signal.SIGINT)
    error_out = os.fdopen(os.dup(2), "w", errors="replace")  # a run redirects descriptor 2 to its log
    code: Any = 0
    try:
        code = app([argument for argument in given if argument != "--debug"], standalone_mode=False)
        if code == INTERRUPTED:  # typer turns a KeyboardInterrupt into this code
            raise KeyboardInterrupt
    except InputError as error:
        several = [f"- {problem}" for problem in error.all] if error.others else []
        code = say(error_out, f"Error: {len(several)} problems." if several else f"Error: {error}", 2, debug, several)
    except TrialError as error:
        code = say(error_out, f"Failed: {error}.", 1, debug)
    except USAGE_ERROR as error:
        error.show(file=error_out)  # type: ignore[attr-defined]
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        stored = " What has finished is stored; the same command goes on from there." if "run" in given else ""
        code = say(error_out, f"Interrupted.{stored}", INTERRUPTED, debug)
    except typer.Exit as error:
        code = error.exit_code
    except OSError as error:
        code = say(error_out, f"Error: {error}. What has finished is stored.", 2 if error.errno == 28 else 1, debug)
    except Exception as error:
        code = say(error_out, f"Failed: {type(error).__name__}: {error} (--debug shows where).", 1, debug)
    error_out.flush()
    sys.exit(code if isinstance(code, int) else 0)


def _interrupt_on(number: signal.Signals) -> None:
    def interrupt(_: int, __: FrameType | None) -> None:
        signal.signal(number, lambda *_: os._exit(INTERRUPTED))  # a second one does not wait for anything
        raise KeyboardInterrupt

    signal.signal(number, interrupt)
