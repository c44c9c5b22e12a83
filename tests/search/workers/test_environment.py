"""Ray reads its switches when it is imported: they are set before that, whatever starts the run."""

import os
import subprocess
import sys

SHOW = """
import tricksearch.search.workers.runner
from ray._private import ray_constants
print(ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV, ray_constants.RAY_DEDUP_LOGS)
"""


def test_ray_takes_over_no_environment_of_uv_and_drops_no_line_of_a_log():
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_"))}
    done = subprocess.run([sys.executable, "-c", SHOW], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
