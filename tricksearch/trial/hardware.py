"""Where and with what something was measured."""

from __future__ import annotations

import functools
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any


@functools.cache
def versions() -> dict[str, str]:
    """The installed version of each package that tricksearch is built on; 'absent' where there is none."""
    found = {"python": platform.python_version(), "tricksearch": version("tricksearch")}
    for requirement in requires("tricksearch") or ():
        name, _, marker = requirement.partition(";")
        if "extra" not in marker:
            package = re.split(r"[^\w.-]", name, maxsplit=1)[0]
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                found[package] = "absent"
    return found


@functools.cache
def hardware() -> dict[str, Any]:
    """The machine: processor, usable cores, memory in GiB, GPUs."""
    import psutil
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "cpu": _cpu_name(),
        "cores": usable_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus,
        "system": f"{platform.system()} {platform.machine()}",
    }


def usable_cores() -> int:
    """The cores that this process may run on, which a container may make fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
