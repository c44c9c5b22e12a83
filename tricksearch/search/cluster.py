"""What the driver needs before it can use a cluster's nodes: its luggage, the depot, the token."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from tricksearch.contract import InputError
from tricksearch.search.depot import Depot, node_folder
from tricksearch.search.loop import Loop
from tricksearch.search.travel import pack, runtime_env


class DepotActor(Depot):
    """The depot as an actor of Ray."""

    def home(self) -> str:
        """Ray's name of the node that it runs on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())


class Luggage:
    """What travels to the nodes with a run: packed before Ray is joined, served when it is.

    Raises InputError for plugins that cannot travel.
    """

    def __init__(self, loop: Loop, scratch: Path) -> None:
        from tricksearch.trial.data.packed import digest_of
        from tricksearch.trial.run import cached_data

        self._loop = loop
        self._name = f"tricksearch-depot-{uuid.uuid4().hex}"
        self._digest = digest_of(cached_data(loop.study.data))
        package = pack(loop.study.plugins, scratch / "luggage.zip")
        self.runtime_env = runtime_env(package, f"{self._name}:{self._digest}")
        self._actor: Any = None  # Ray ends an actor that nobody holds

    def open(self) -> None:
        """Start the depot on this machine. Raises InputError where it cannot use the study's cache."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {
            "name": self._name,
            "num_cpus": 0,
            "max_concurrency": 8,
            "max_restarts": -1,  # it keeps nothing that is not in files
            "max_task_retries": -1,
            "scheduling_strategy": here,
        }
        study = self._loop.study
        self._actor = (
            ray.remote(DepotActor)
            .options(**options)
            .remote(
                str(self._loop.cache),
                str(Path.cwd()),
                study.data.model_dump_json(),
                self._digest,
                str(node_folder() / "data"),
            )
        )
        problem = ray.get(self._actor.problem.remote())
        if problem:
            raise InputError(
                f"Ray's processes on this machine cannot use the study's cache: {problem}",
                remedy="start Ray here as the user who runs this command",
            )


def use_token() -> None:
    """Present Ray's token where there is one. To be called before Ray is imported.

    `ray start --head` demands a token wherever one is found, while a driver that names the cluster's address is
    left to know that; to a cluster that demands none, a token does no harm.
    """
    if "RAY_AUTH_MODE" in os.environ:
        return
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if named or (Path.home() / ".ray" / "auth_token").is_file():
        os.environ["RAY_AUTH_MODE"] = "token"
