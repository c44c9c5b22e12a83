"""What Ray's workers on this machine find around them: the driver's modules, short paths for sockets, a token.

Nothing here imports Ray, which reads some of it when it is imported.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

LONGEST = 107  # bytes of the path of a UNIX socket, on Linux
SOCKETS = "/ray/session_2000-01-01_00-00-00_000000_0000000/sockets/plasma_store"  # what Ray puts below its folder
SHORT = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  # Ray's folder gets a private one of its own there
TOKENS = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


class DriversPath(list[str]):
    """The folders that workers import from before all others: those of this process, and no more.

    Ray would add the folder in which the command was started. A folder `timm` there would then be another timm in a
    worker than in the driver.
    """

    def __init__(self) -> None:
        standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
        before = itertools.takewhile(lambda folder: folder not in standard and not folder.endswith(".zip"), sys.path)
        # Ray puts one after the other in front, and brings its own.
        super().__init__(os.path.abspath(folder) for folder in before if not folder.endswith("thirdparty_files"))
        self.reverse()

    def extend(self, folders: Iterable[str]) -> None:
        """Add nothing."""


@contextlib.contextmanager
def sockets_folder() -> Iterator[str | None]:
    """A private folder whose path is short enough for Ray's sockets; None where the folder that Ray takes is.

    Raises OSError where TMPDIR (or RAY_TMPDIR) is too long and no other folder can be written to.
    """
    given = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or SHORT[0]
    if len(os.fsencode(given + SOCKETS)) <= LONGEST:
        yield None
        return
    for place in SHORT:
        with contextlib.suppress(OSError):
            folder = tempfile.mkdtemp(prefix="tricksearch-ray-", dir=place)
            break
    else:
        raise OSError(f"none of {', '.join(SHORT)} can be written to")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def bring_token() -> None:
    """Give Ray a token of this process's own where it could not keep one in the home folder.

    To be called before Ray is imported.
    """
    if any(name in os.environ for name in TOKENS):
        return
    try:
        home = Path.home()
    except RuntimeError:  # there is no such user
        home = Path("/nonexistent")
    kept = home / ".ray"
    known = os.access(kept / "auth_token", os.R_OK)
    if not known and not os.access(kept if kept.is_dir() else home, os.W_OK | os.X_OK):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
