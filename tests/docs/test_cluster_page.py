"""The page on clusters: its figures, its commands and its manifests."""

import importlib.metadata
import re

import yaml

from tests.docs.pages import ENGINE, PAGES, blocks
from tests.docs.test_pages import COMMANDS
from tricksearch.search.cluster.bundle import LIMIT
from tricksearch.search.retries import RETRIES
from tricksearch.search.sigterm import GRACE, INTERRUPTED

PAGE = "docs/cluster.md"


def test_its_figures_and_names_are_those_of_the_code():
    text = PAGES[PAGE]
    assert f"{LIMIT / 2**20:.0f} MiB each at most" in text
    assert f"get {GRACE:.0f} seconds" in text
    assert f"exit code {INTERRUPTED}" in text
    assert f"after its {('first', 'second', 'third')[RETRIES]} loss" in text
    sources = "".join(file.read_text() for file in ENGINE.rglob("*.py"))
    named = {name for page in PAGES.values() for name in re.findall(r"TRICKSEARCH_\w+", page)}
    assert {"TRICKSEARCH_DATA", "TRICKSEARCH_NODE_CACHE"} <= named
    assert [name for name in named if f'"{name}"' not in sources] == []


def test_its_commands_are_commands():
    entrypoints = [yaml.safe_load(block).get("spec", {}).get("entrypoint", "") for block in blocks(PAGE, "yaml")]
    code = "\n".join([*blocks(PAGE, "bash"), *entrypoints])
    ours = re.findall(r"tricksearch run ([^\n'#]+)", code)
    assert len(ours) >= 3
    known = {option.split()[0] for option in COMMANDS["run"]}
    assert set(re.findall(r"--[\w-]+", " ".join(ours))) <= known
    ray = importlib.metadata.entry_points(group="console_scripts", name="ray")
    commands = next(iter(ray)).load().__globals__["cli"].commands
    named = set(re.findall(r"^(?:RAY_\w+=\w+ )?ray ([a-z-]+)", code, flags=re.MULTILINE))
    assert named
    assert named <= set(commands)


def test_its_manifests_fit_together():
    launcher, job = (yaml.safe_load(block) for block in blocks(PAGE, "yaml"))
    assert launcher["head_node_type"] in launcher["available_node_types"]
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
