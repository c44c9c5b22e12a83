"""What crosses between the driver's machine and a node that shares nothing with it, here without Ray between them."""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tricksearch.contract import InputError, discover, source_hash
from tricksearch.records.settings import DataSettings
from tricksearch.search.cluster import cache_server as module
from tricksearch.search.cluster import node as node_module
from tricksearch.search.cluster.bundle import PLUGINS, pack, plugin_folders
from tricksearch.search.cluster.cache_server import CacheServer, Refused, node_folder
from tricksearch.search.cluster.node import ClusterNode, NodeCache, own_data
from tricksearch.trial.cache import Cache
from tricksearch.trial.data import load_data
from tricksearch.trial.data.packed import digest_of, put_data, read_data
from tricksearch.trial.job import Job

KEY = "0123456789abcdef" * 2


class Wire:
    """Carries questions to a server as Ray would, and counts them."""

    def __init__(self, server):
        self.server, self.asked = server, []

    def __call__(self, method, *arguments):
        self.asked.append(method)
        return getattr(self.server, method)(*arguments)


@pytest.fixture
def images(tmp_path):
    source = np.random.default_rng(0)
    path = tmp_path / "study" / "images.npz"
    path.parent.mkdir()
    labels = np.arange(60) % 2
    np.savez(path, x_train=source.integers(0, 255, (60, 8, 8), dtype=np.uint8), y_train=labels)
    return path


@pytest.fixture
def make_server(tmp_path, images):
    def make(root="images.npz", cache=None):
        settings = DataSettings(name="npz", root=root)
        data = load_data(DataSettings(name="npz", root=str(images)))
        digest = digest_of(data)
        folder = cache or tmp_path / "home"
        wire = Wire(
            CacheServer(str(folder), str(images.parent), settings.model_dump_json(), digest, str(tmp_path / "packed"))
        )
        return wire, settings, digest

    before = Path.cwd()
    yield make
    os.chdir(before)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 7)
    monkeypatch.setattr(node_module, "CHUNK", 7)


def put(cache, stage="train", key=KEY, **files):
    with tempfile.TemporaryDirectory() as folder:
        sources = {name: Path(folder) / name for name in files}
        for name, path in sources.items():
            path.write_bytes(files[name])
        return cache.put(stage, key, {"seconds": 1.5}, sources)


@settings(max_examples=20)
@given(content=st.binary(max_size=40), other=st.binary(max_size=3))
def test_entries_cross_in_both_directions_unchanged(content, other):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", 7)
        patch.setattr(node_module, "CHUNK", 7)
        home = Cache(Path(folder) / "home")
        ask = Wire(CacheServer(str(home.folder), folder, "{}", KEY, str(Path(folder) / "packed")))
        first, second = (NodeCache(Path(folder) / name, ask) for name in ("first", "second"))
        put(first, **{"weights.pt": content, "beside.bin": other})
        for cache in (home, second):
            entry = cache.get("train", KEY)
            assert entry.meta == {"seconds": 1.5}
            assert entry.file("weights.pt").read_bytes() == content
            assert entry.file("beside.bin").read_bytes() == other
        before = len(ask.asked)
        second.get("train", KEY)
        second.bring_home()
        assert len(ask.asked) == before, "what came from home went back"
        assert not list(Path(folder).glob("*/.new-*"))


def test_what_a_node_knew_already_comes_home_when_it_is_used(tmp_path, make_server):
    ask, _, _ = make_server()
    put(Cache(tmp_path / "node"), "deploy", model=b"file")  # by another study, for another driver
    cache = NodeCache(tmp_path / "node", ask)
    assert Cache(tmp_path / "home").get("deploy", KEY) is None
    cache.get("deploy", KEY)
    cache.bring_home()
    assert Cache(tmp_path / "home").get("deploy", KEY).file("model").read_bytes() == b"file"


@pytest.mark.parametrize(
    ("stage", "key", "name"),
    [
        ("train", KEY, "../weights.pt"),
        ("train", KEY, "/etc/passwd"),
        ("train", KEY, "a/b"),
        ("train", KEY, "a\\b"),
        ("train", KEY, "."),
        ("train", KEY, ".."),
        ("train", KEY, ".in-use"),
        ("train", KEY, ""),
        ("train", KEY, "a\0b"),
        ("train", KEY, "entry.json"),
        ("train", "../" + KEY, "weights.pt"),
        ("train", "", "weights.pt"),
        ("..", KEY, "weights.pt"),
        ("locks", KEY, "weights.pt"),
    ],
)
def test_no_name_leads_out_of_an_entry(stage, key, name, tmp_path, make_server):
    ask, _, _ = make_server()
    said = json.dumps({"meta": {}, "files": {name: "0"}})
    with pytest.raises(Refused):
        ask("finish", KEY, stage, key, said)
    with pytest.raises(Refused):
        ask("read", stage, key, name, 0)
    if (stage, key) == ("train", KEY):
        with pytest.raises(Refused):
            ask("write", KEY, name, 0, b"bytes")
    with pytest.raises(Refused):
        node_module.fetch(Cache(tmp_path / "node"), stage, key, lambda method, *_: said)
    assert not (tmp_path / "node").exists()


def test_a_node_cannot_replace_the_data(make_server):
    ask, _, digest = make_server()
    with pytest.raises(Refused):
        ask("finish", KEY, "data", digest, json.dumps({"meta": {}, "files": {}}))


def test_what_is_damaged_on_its_way_is_kept_nowhere(tmp_path, make_server, small_chunks):
    ask, _, _ = make_server()

    def noisy(method, *arguments):
        answer = ask(method, *arguments[:-1], b"?") if method == "write" else ask(method, *arguments)
        return b"?" + answer[1:] if method == "read" and answer else answer

    cache = NodeCache(tmp_path / "node", noisy)
    put(cache, weights=b"0123456789")
    with pytest.raises(InputError, match="was damaged on its way"):
        cache.bring_home()
    assert Cache(tmp_path / "home").get("train", KEY) is None
    put(Cache(tmp_path / "home"), key="f" * 32, weights=b"0123456789")
    assert cache.get("train", "f" * 32) is None
    assert Cache(tmp_path / "node").get("train", "f" * 32) is None


def test_a_call_that_is_repeated_after_a_failure_changes_nothing(tmp_path, make_server):
    ask, _, _ = make_server()

    def twice(method, *arguments):
        ask(method, *arguments)
        return ask(method, *arguments)

    put(NodeCache(tmp_path / "node", twice), weights=b"0123456789").file("weights")
    assert Cache(tmp_path / "home").get("train", KEY).file("weights").read_bytes() == b"0123456789"


def test_a_home_that_cannot_keep_it_ends_the_run_with_the_reason(tmp_path, make_server):
    (tmp_path / "file").write_text("in the way")
    ask, _, _ = make_server(cache=tmp_path / "file")
    cache = NodeCache(tmp_path / "node", ask)
    assert put(cache, weights=b"0") is not None  # the stage itself has worked
    with pytest.raises(InputError, match="cannot be kept on the driver's machine"):
        cache.bring_home()


def test_packed_data_are_the_data(images, tmp_path):
    data = load_data(DataSettings(name="npz", root=str(images)))
    entry = put_data(Cache(tmp_path / "cache"), data)
    there = read_data(entry)
    assert digest_of(there) == digest_of(data) == entry.key
    assert (there.name, there.classes, there.augment) == (data.name, data.classes, data.augment)
    for split in ("train", "validation", "test"):
        assert getattr(there, split).pixels.equal(getattr(data, split).pixels)
        assert getattr(there, split).labels.equal(getattr(data, split).labels)
    other = load_data(DataSettings(name="npz", root=str(images), split_seed=1))
    assert digest_of(other) != entry.key


def test_data_of_a_relative_folder_travel_once_and_absolute_ones_are_found(images, tmp_path, make_server):
    trial = {"data": {"name": "npz", "root": "images.npz"}, "net": {"widths": [8], "blocks": 1}}
    trial |= {
        "train": {"epochs": 1, "batch_size": 10},
        "latency": {"seconds": 0.05, "precision": 0.5, "block_seconds": 0.001},
    }
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ask, settings, digest = make_server()
    os.chdir(elsewhere)
    job = Job(3, "search", 0, trial | {"plugins": [], "tricks": {}}, [], [], "not here", "not here")
    site = ClusterNode(ask, digest, tmp_path / "node")
    (record,) = site.run(job, lambda progress: None)
    assert record.finished, record.reason
    assert record.recipe["data"]["root"] == "images.npz"
    assert (tmp_path / "node" / "data" / "data" / digest).is_dir()
    stages = {each.stage for each in Cache(tmp_path / "home").usage()}
    assert {"train", "compress", "deploy", "score"} <= stages, "not all came home"

    before = len([each for each in ask.asked if each == "read"])
    ClusterNode(ask, digest, tmp_path / "node")._find_data(settings)
    assert len([each for each in ask.asked if each == "read"]) == before, "the data travelled twice"
    assert own_data(settings) is None
    found = own_data(settings.model_copy(update={"root": str(images)}))
    assert digest_of(found) == digest


def test_the_package_holds_the_driver_s_sources_and_tricks_with_the_same_keys(tmp_path, make_study):
    study = make_study()
    folder = Path(study.plugins[0])
    (folder / "table.csv").write_text("1,2\n")
    (folder / "__pycache__").mkdir(exist_ok=True)
    (folder / "__pycache__" / "left.pyc").write_bytes(b"old")
    (folder / "loop").symlink_to(folder)
    package = pack(study.plugins, tmp_path / "one.zip")
    assert package.read_bytes() == pack(study.plugins, tmp_path / "two.zip").read_bytes()
    names = zipfile.ZipFile(package).namelist()
    own = {name.removeprefix(f"{PLUGINS}/0/") for name in names if name.startswith(PLUGINS)}
    assert own == {"left.py", "right.py", "solo.py", "table.csv"}
    zipfile.ZipFile(package).extractall(tmp_path / "node")
    show = """if True:
        import json, tricksearch, tricksearch_plugins
        from importlib.metadata import version
        from tricksearch.contract import discover, source_hash
        from tricksearch.search.cluster.bundle import plugin_folders
        found = discover(plugin_folders(1))
        print(json.dumps([tricksearch.__file__, tricksearch_plugins.__path__[0], version("tricksearch"),
                          {name: source_hash(trick) for name, trick in found.items()}]))"""
    done = subprocess.run(
        [sys.executable, "-c", show],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "node")},
        capture_output=True,
        text=True,
        check=True,
    )
    engine, built_in, version, hashes = json.loads(done.stdout)
    assert engine.startswith(str(tmp_path / "node"))
    assert built_in.startswith(str(tmp_path / "node"))
    assert version
    assert hashes == {name: source_hash(trick) for name, trick in discover(study.plugins).items()}
    assert len(plugin_folders(2)) == 2


def test_a_folder_of_plugins_that_holds_a_data_set_does_not_travel(tmp_path, monkeypatch):
    monkeypatch.setattr("tricksearch.search.cluster.bundle.LIMIT", 100)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "images.bin").write_bytes(b"0" * 101)
    with pytest.raises(InputError, match="eep tricks in a folder of their own"):
        pack([str(tmp_path / "own")], tmp_path / "package.zip")


def test_the_folder_of_a_node_is_its_user_s_own(tmp_path, monkeypatch):
    monkeypatch.setenv("TRICKSEARCH_NODE_CACHE", str(tmp_path / "named"))
    assert node_folder() == tmp_path / "named"
    monkeypatch.delenv("TRICKSEARCH_NODE_CACHE")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = node_folder()
    assert own.stat().st_mode & 0o077 == 0
    own.rmdir()
    own.symlink_to(tmp_path / "named")
    with pytest.raises(InputError, match="belongs to another user"):
        node_folder()
