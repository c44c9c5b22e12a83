"""Where and with what something was measured."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import (
    PackageNotFoundError,
    distribution,
    distributions,
    packages_distributions,
    requires,
    version,
)
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"  # how the version of a package begins that is not the installed one


@functools.cache
def versions() -> dict[str, str]:
    """The installed version of each package that tricksearch is built on; 'absent' where there is none."""
    installed = {"python": platform.python_version(), "tricksearch": version("tricksearch")}
    for requirement in requires("tricksearch") or ():
        name, _, marker = requirement.partition(";")
        if "extra" not in marker:
            package = re.split(r"[^\w.-]", name, maxsplit=1)[0]
            try:
                installed[package] = running(package)
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
                installed[package] = running(package)
    return installed


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """The installed version of each distribution that brings one of these top-level packages; 'absent' without one."""
    installed = {"python": platform.python_version()}
    for package in packages:
        # Several may bring one: which of their files are there is known to nobody but the installer.
        for name in _distributions().get(package, [package]):
            try:
                installed[name] = running(name)
            except PackageNotFoundError:
                installed[name] = "absent"
    return installed


@functools.cache
def running(name: str) -> str:
    """The version of a distribution that this process runs: the installed one, where its modules come from there.

    Another folder of that name may stand before it on the path: then the text begins with UNKNOWN and tells where that
    is. Raises PackageNotFoundError.
    """
    about = distribution(name)
    if "editable" in (about.read_text("direct_url.json") or ""):
        return about.version  # its modules are where they are written
    # Some packages, such as Ray, put folders on the path that bring another copy of a distribution.
    copies = {Path(str(copy.locate_file(""))).resolve(): copy.version for copy in distributions(name=name)}
    ran = about.version
    for module in _modules().get(_normal(name), ()):
        place = _place(module)
        if place is None:
            continue
        roots = [root for root in copies if place.is_relative_to(root)]
        if not roots:
            return f"{UNKNOWN}: {module} is imported from {place.parent}, and not {about.version}, which is installed"
        ran = copies[max(roots, key=lambda root: len(root.parts))]
    return ran


def _place(module: str) -> Path | None:
    """The file that a top-level module is imported from, None where it has none."""
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        loaded = sys.modules.get(module)
        origin = getattr(loaded, "__file__", None) if loaded is not None else None
        if origin is None and (spec := importlib.util.find_spec(module)) is not None and spec.has_location:
            origin = spec.origin
        return None if origin is None else Path(origin).resolve()
    return None


@functools.cache
def _modules() -> Mapping[str, list[str]]:
    """The top-level modules of each distribution, by its normalised name; those that several bring are left out."""
    modules: dict[str, list[str]] = {}
    for module, names in _distributions().items():
        if len(set(names)) == 1:
            modules.setdefault(_normal(names[0]), []).append(module)
    return modules


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


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


def deciding(machine: Mapping[str, Any], device: str) -> dict[str, Any]:
    """What of a machine, as `hardware` gives it, decides how fast something runs on a device, "cpu" or "cuda".

    A process may see some of the GPUs alone, as a worker that was given one of two: it runs on the first that it sees.

    >>> deciding({"cpu": "Xeon", "cores": 2, "gpus": ["A100", "T4"], "memory_gib": 23.4, "system": "Linux"}, "cuda")
    {'cpu': 'Xeon', 'cores': 2, 'system': 'Linux', 'gpus': ['A100']}
    """
    part = {name: machine.get(name) for name in ("cpu", "cores", "system")}
    return part if device == "cpu" else part | {"gpus": list(machine.get("gpus") or ())[:1]}


def same_machine(one: Mapping[str, Any], other: Mapping[str, Any], device: str) -> bool:
    """Whether times that were taken on a device compare, as far as what the machines tell of themselves."""
    return deciding(one, device) == deciding(other, device)


def device_name(device: str) -> str:
    """The model of the processor or, for "cuda" or "cuda:1", of the GPU that this process sees there."""
    kind, _, index = device.partition(":")
    if kind == "cuda":
        return str(hardware()["gpus"][int(index or 0)])
    return str(hardware()["cpu"]) if kind == "cpu" else device


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
