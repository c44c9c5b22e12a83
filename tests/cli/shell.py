"""The command line as a shell sees it, in processes that are forked from one which has imported what takes seconds."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PATIENCE = 600  # seconds for one command, on a machine that is busy with others
PRELOADED = ["tricksearch.cli.app", "tricksearch.cli.run", "tricksearch.search.driver", "tricksearch.trial.run"]
PRELOADED += ["onnxruntime", "torch.onnx", "pandas", "plotly.graph_objects", "sklearn.datasets"]

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(PRELOADED)


def _run(arguments, cwd, environment, out, err):
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for path, descriptor in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    from tricksearch.cli import main

    main(arguments)


def tricksearch(*arguments, cwd, columns=80):
    """Run a command in `cwd`, on a terminal of so many columns; returns what `subprocess.run` does."""
    given = [str(each) for each in arguments]
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        environment = dict(os.environ) | {"COLUMNS": str(columns)}
        process = _forks.Process(target=_run, args=(given, cwd, environment, out, err))
        process.start()
        process.join(PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(given, PATIENCE)
        return subprocess.CompletedProcess(given, process.exitcode, out.read_text(), err.read_text())


def in_new_interpreter(*arguments, cwd):
    """The same, as a person starts it."""
    return subprocess.run(
        [sys.executable, "-c", "from tricksearch.cli import main; main()", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
