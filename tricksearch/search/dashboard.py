"""optuna-dashboard over a run's mirror: on this machine alone, following a run that goes on."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from tricksearch.contract import InputError
from tricksearch.search.folder import read_store
from tricksearch.search.mirror import Mirror

HOST = "127.0.0.1"
MIRROR = "optuna.db"
SECONDS = 2.0  # between two looks into the store


def write_mirror(folder: Path) -> tuple[Path, int]:
    """Write RUN/optuna.db anew, in one step; returns its path and how many records it holds. Raises InputError."""
    store = read_store(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=".optuna-", dir=folder) as scratch:
            mirror = Mirror(store, folder, Path(scratch) / MIRROR)
            mirror.close()
            os.replace(Path(scratch) / MIRROR, folder / MIRROR)
        return folder / MIRROR, store.count()
    except OSError as error:
        raise InputError(
            f"the mirror cannot be written: {error.strerror}", place=str(folder), remedy="make the folder writable"
        ) from error
    finally:
        store.close()


def serve(folder: Path, port: int, note: Callable[[str], None]) -> None:
    """Serve the dashboard of a run until KeyboardInterrupt; `port` 0 takes a free one. Raises InputError.

    Nothing is sent anywhere: the server listens on the loopback address, and its pages load from it alone.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise InputError(
            f"the dashboard needs the package optuna-dashboard: {error}",
            remedy="install it with pip install 'tricksearch[dashboard]', or write the mirror alone with --no-serve",
        ) from error
    store = read_store(folder)
    try:
        with tempfile.TemporaryDirectory(prefix="tricksearch-dashboard-") as scratch:
            mirror = Mirror(store, folder, Path(scratch) / MIRROR)
            try:
                with _server(port, wsgi(mirror.storage)) as server, _following(mirror, note):
                    note(f"Dashboard of {folder}: http://{HOST}:{server.server_port}/ (Ctrl-C ends it)")
                    server.serve_forever()
            finally:
                mirror.close()
    finally:
        store.close()


class _following:
    """Keeps a mirror up to date in a thread of its own until the block ends."""

    def __init__(self, mirror: Mirror, note: Callable[[str], None]) -> None:
        self._mirror, self._note, self._over = mirror, note, threading.Event()
        self._thread = threading.Thread(target=self._follow, name="mirror", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        told = ""
        while not self._over.wait(SECONDS):
            try:
                self._mirror.update()
                told = ""
            except Exception as error:  # a server that restarts, a study that changes: the page stays, and goes on
                if str(error) != told:
                    self._note(f"What is new cannot be shown for now: {error}")
                told = str(error)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each request."""


def _server(port: int, app: Any) -> WSGIServer:
    try:
        return make_server(HOST, port, app, server_class=_Server, handler_class=_Quiet)
    except OSError as error:
        raise InputError(
            f"port {port} of {HOST} cannot be used: {error.strerror}", place="--port", remedy="choose another, or 0"
        ) from error
