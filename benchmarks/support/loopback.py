"""A Ray cluster of real nodes on the loopback address of this machine: a test and a benchmark kill it in pieces."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

PATIENCE = 60.0  # seconds that the head gets to come up
# Ray's processes listen on the loopback address alone where it takes itself for being on a system without clusters;
# only its command line then refuses to add a node.
RAY_START = """import types
from ray.scripts import scripts
scripts.ray_constants = types.SimpleNamespace(**vars(scripts.ray_constants) | {"ENABLE_RAY_CLUSTER": True})
scripts.main()"""


class Loopback:
    """A head without CPUs, the nodes that are added to it and the drivers that use it; nothing is shared but `folder`.

    Each process gets an environment without this one's settings of Ray, with `environment` on top.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        """Start the head; keep `folder` short, since Ray's sockets lie below it. Raises RuntimeError where it dies."""
        self.folder = folder
        self.address = f"127.0.0.1:{_free_port()}"
        self._starts = itertools.count()
        self._mark = secrets.token_hex(8)
        self._started: list[subprocess.Popen[bytes]] = []
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self._environment = kept | {
            "HOME": str(folder),
            "LOOPBACK": self._mark,
            "RAY_AUTH_TOKEN": secrets.token_hex(16),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            # A node that is gone is known to be gone at once; a node that is slow is not taken for one.
            "RAY_health_check_initial_delay_ms": "0",
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_timeout_ms": "10000",
            "RAY_health_check_failure_threshold": "2",
            "RAY_memory_usage_threshold": "1.0",
            **environment,
        }
        port = self.address.rpartition(":")[2]
        try:
            self.head = self._node("head", "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false")
            self._await_head()
        except BaseException:
            self.end()
            raise

    def add_node(self, name: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a node with one CPU; a node of the same name finds what an earlier one kept."""
        return self._node(name, f"--address={self.address}", "--num-cpus=1", **environment)

    def drive(self, study: Path, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `tricksearch run` on this cluster, in the study's folder."""
        command = [sys.executable, "-c", "from tricksearch.cli import main; main()", "run", study.name]
        return self._popen("driver", [*command, "--address", self.address, *arguments], study.parent)

    def log(self, name: str) -> Path:
        """What the nodes of this name said, or with "driver" the drivers."""
        return self.folder / f"{name}.log"

    def kept(self, name: str) -> Path:
        """Where the nodes of this name keep what travelled to them."""
        return self.folder / f"kept-{name}"

    def end(self) -> None:
        """Kill everything that is left."""
        kill(process for one in self._started for process in family(one.pid))
        for process in psutil.process_iter():  # Ray's agents outlive the raylet that they watch
            with contextlib.suppress(psutil.Error):
                if process.environ().get("LOOPBACK") == self._mark:
                    process.kill()

    def _node(self, name: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        common = (
            "--node-ip-address=127.0.0.1",
            # Nodes of one machine would unpack what travels into one place, where a killed one may have left half.
            f"--temp-dir={self.folder / f'{name}-{next(self._starts)}'}",
            "--object-store-memory=80000000",
            "--disable-usage-stats",
        )
        command = [sys.executable, "-c", RAY_START, "start", "--block", *common, *arguments]
        # The driver is not told: that the cluster asks for a token it has to see from the token that it has.
        return self._popen(name, command, self.folder, RAY_AUTH_MODE="token", **environment)

    def _popen(self, name: str, command: list[str], where: Path, **environment: str) -> subprocess.Popen[bytes]:
        with self.log(name).open("ab") as sink:
            process = subprocess.Popen(
                command,
                cwd=where,
                env=self._environment | {"TRICKSEARCH_NODE_CACHE": str(self.kept(name))} | environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def _await_head(self) -> None:
        host, _, port = self.address.rpartition(":")
        end = time.monotonic() + PATIENCE
        while self.head.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
                return
            time.sleep(0.1)
        raise RuntimeError(f"the head of the cluster did not come up: {self.log('head').read_text()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def family(pid: int) -> list[psutil.Process]:
    """A process and all its descendants, none where it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL to each, the eldest first, and wait until they are gone."""
    killed = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()  # psutil looks whether the pid is still that process
            killed.append(process)
    psutil.wait_procs(killed, timeout=10)
