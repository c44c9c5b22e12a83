"""Where and with what something was measured."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path
from typing import Any


@functools.cache
def versions() -> dict[str, str]:
    """The installed version of each package that tricksearch is built on; 'absent' where there is none."""
    installed = {"python": platform.python_version(), "tricksearch": version("tricksearch")}
    for requirement in requires("tricksearch") or ():
        name, _, marker = requirement.partition(";")
        if "extra" not in marker:
            package = re.split(r"[^\w.-]", name, maxsplit=1)[0]
            try:
                installed[package] = version(package)
            except PackageNotFoundError:
                installed[package] = "absent"
    return installed


@functools.cache
def extra_versions() -> dict[str, str]:
    """The installed version of each package that a trick may bring: runtimes and the like, but for development's."""
    installed = {}
    for requirement in requires("tricksearch") or ():
        name, _, marker = requirement.partition(";")
        if "extra" in marker and not re.search(r"""extra\s*==\s*["']dev["']""", marker):
            package = re.split(r"[^\w.-]", name, maxsplit=1)[0]
            with contextlib.suppress(PackageNotFoundError):
                installed[package] = version(package)
    return installed


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """The installed version of each distribution that brings one of these top-level packages; 'absent' without one."""
    installed = {"python": platform.python_version()}
    for package in packages:
        # Several may bring one: which of their files are there is known to nobody but the installer.
        for name in _distributions().get(package, [package]):
            try:
                installed[name] = version(name)
            except PackageNotFoundError:
                installed[name] = "absent"
    return installed


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


@functools.cache
def cpu_features() -> str:
    """A hash of the processor's instruction sets, which a virtual machine's name of it may hide."""
    with contextlib.suppress(OSError):
        match = re.search(r"^(?:flags|Features)\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if match:  # x86 and ARM
            return hashlib.sha256(" ".join(sorted(match[1].split())).encode()).hexdigest()[:16]
    return platform.machine()


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
