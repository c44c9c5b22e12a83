"""The cache: entries whole or absent, whatever is damaged, killed, full, read-only, or done by two at once."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tricksearch.contract import InputError
from tricksearch.trial import cache as module
from tricksearch.trial.cache import ABANDONED, STAGES, Cache

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
contents = st.dictionaries(st.sampled_from(["a.bin", "b.onnx", "c"]), st.binary(max_size=200), max_size=3)


def stored(cache, stage="train", key="k", meta=None, files=None):
    """Put an entry whose files have these contents."""
    with tempfile.TemporaryDirectory() as folder:
        sources = {name: Path(folder) / name for name in files or {}}
        for name, path in sources.items():
            path.write_bytes(files[name])
        return cache.put(stage, key, meta or {}, sources)


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def leftovers(cache):
    return list(cache.folder.glob(".new-*"))


@given(meta=st.dictionaries(st.text(max_size=5), plain, max_size=4), files=contents)
def test_what_is_put_is_got(meta, files):
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder) / "deep" / "cache")
        assert cache.get("train", "k") is None
        put = stored(cache, meta=meta, files=files)
        for entry in (put, cache.get("train", "k")):
            assert entry.meta == meta
            assert {name: entry.file(name).read_bytes() for name in files} == files
        assert cache.get("train", "other") is cache.get("deploy", "k") is None
        assert not leftovers(cache)


@given(data=st.data(), files=contents)
def test_a_damaged_entry_is_dropped_and_can_be_stored_again(data, files):
    meta = {"accuracy": 97.5, "of": ["a", 1]}
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        entry = stored(cache, meta=meta, files=files)
        victim = entry.file(data.draw(st.sampled_from(["entry.json", *files])))
        before = victim.read_bytes()
        how = data.draw(st.sampled_from(["cut", "flip", "lengthen", "delete"]))
        place = data.draw(st.integers(0, max(0, len(before) - 1)))
        if how == "delete":
            victim.unlink()
        elif how == "lengthen":
            victim.write_bytes(before + b"x")
        elif how == "cut":
            victim.write_bytes(before[:place])
        elif before:
            other = data.draw(st.integers(0, 255).filter(lambda value: value != before[place]))
            victim.write_bytes(before[:place] + bytes([other]) + before[place + 1 :])
        changed = not victim.exists() or victim.read_bytes() != before
        found = cache.get("train", "k")
        if found is None:
            assert changed
            assert not entry.folder.exists()
            assert stored(cache, meta=meta, files=files).meta == cache.get("train", "k").meta == meta
        else:  # white space for white space in the JSON says the same
            assert not changed or (
                victim.name == "entry.json" and json.loads(victim.read_bytes()) == json.loads(before)
            )
            assert found.meta == meta
        assert not leftovers(cache)


def test_a_measure_that_was_changed_in_an_entry_is_not_believed(cache):
    entry = stored(cache, meta={"accuracy": 97.5})
    path = entry.file("entry.json")
    path.write_text(path.read_text().replace("97.5", "98.5"))
    assert cache.get("train", "k") is None
    assert not entry.folder.exists()


@given(
    sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=6),
    order=st.randoms(use_true_random=False),
    keep=st.integers(0, 12000),
)
def test_pruning_keeps_what_was_used_last(sizes, order, keep):
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        names = [(order.choice(STAGES), f"key{index}") for index in range(len(sizes))]
        for (stage, key), size in zip(names, sizes, strict=True):
            stored(cache, stage, key, files={"f": bytes(size)})
        by_age = order.sample(names, len(names))
        for age, (stage, key) in enumerate(reversed(by_age)):
            os.utime(cache.folder / stage / key / "entry.json", (age + 1e6, age + 1e6))
        before = cache.usage()
        assert [(each.stage, each.key) for each in before] == by_age[::-1]
        gone, freed = cache.prune(keep)
        left = cache.usage()
        assert left == before[gone:]
        assert freed == sum(each.size for each in before[:gone])
        assert sum(each.size for each in left) <= keep
        assert not gone or sum(each.size for each in before[gone - 1 :]) > keep, "one more than needed was dropped"
        assert not leftovers(cache)


def test_reading_an_entry_is_using_it(cache):
    for key in ("first", "second"):
        stored(cache, key=key)
    for each in cache.usage():
        os.utime(cache.folder / each.stage / each.key / "entry.json", (1e6, 1e6))
    cache.get("train", "first")
    assert [each.key for each in cache.usage()] == ["second", "first"]
    assert cache.prune(cache.usage()[-1].size)[0] == 1
    assert [each.key for each in cache.usage()] == ["first"]


def python(text, *arguments):
    head = "import contextlib, os, signal, sys, time\nfrom pathlib import Path\n"
    head += "from tricksearch.contract import InputError\nfrom tricksearch.trial.cache import Cache\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + text, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


KILLED = """
cache, at = Cache(Path(sys.argv[1])), int(sys.argv[2])
calls = [0]
def dying(act):
    def call(*arguments):
        calls[0] += 1
        if calls[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return act(*arguments)
    return call
os.fsync, Path.rename = dying(os.fsync), dying(Path.rename)
source = Path(sys.argv[3])
cache.put("train", "k", {"n": 1}, {"a": source, "b": source})
"""


@pytest.mark.parametrize("at", [1, 2, 3, 4])  # as its files are written, and just before the entry appears
def test_a_process_killed_while_writing_leaves_no_entry(cache, tmp_path, caplog, at):
    source = tmp_path / "source"
    source.write_bytes(bytes(100_000))
    writer = python(KILLED, cache.folder, at, source)
    writer.communicate(timeout=600)
    assert writer.returncode == -signal.SIGKILL
    assert len(leftovers(cache)) == 1
    assert cache.usage() == []
    assert cache.get("train", "k") is None
    assert not caplog.records, "nothing was there that could be damaged"
    assert stored(cache, meta={"n": 2}).meta == cache.get("train", "k").meta == {"n": 2}

    # What it left is swept once it is old enough to be nobody's.
    cache.prune(10**9)
    assert len(leftovers(cache)) == 1
    old = time.time() - ABANDONED - 1
    os.utime(leftovers(cache)[0], (old, old))
    assert cache.prune(10**9) == (0, 0)
    assert not leftovers(cache)


BUILDER = """
from tricksearch.trial.measuring.machine_lock import Machine
cache, machine = Cache(Path(sys.argv[1])), Machine(Path(sys.argv[2]))
source = Path(sys.argv[2]) / f"source{os.getpid()}"
source.write_bytes(bytes(200_000))
for key in range(5):
    with cache.building("train", str(key), machine):
        found = cache.get("train", str(key))
        if found is None:
            print("built", key)
            found = cache.put("train", str(key), {"by": os.getpid()}, {"a": source})
    assert len(found.file("a").read_bytes()) == 200_000
"""
CROWD = """
cache, source = Cache(Path(sys.argv[1])), Path(sys.argv[2]) / f"source{os.getpid()}"
source.write_bytes(bytes(50_000))
for turn in range(40):
    key = str(turn % 3)
    cache.put("train", key, {"turn": turn}, {"a": source})
    found = cache.get("train", key)
    assert found is None or found.meta.keys() == {"turn"}
    if turn % 5 == 0:
        with contextlib.suppress(InputError):  # another one is pruning
            cache.prune(60_000)
"""


def test_of_two_processes_one_builds_and_the_other_finds(cache, tmp_path):
    both = [python(BUILDER, cache.folder, tmp_path) for _ in range(2)]
    said = [each.communicate(timeout=600) for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    assert sorted("".join(out for out, _ in said).split("\n")[:-1]) == [f"built {key}" for key in range(5)]


def test_processes_that_put_get_and_prune_at_once_meet_no_half_entry(cache, tmp_path):
    crowd = [python(CROWD, cache.folder, tmp_path) for _ in range(3)]
    said = [each.communicate(timeout=600)[1] for each in crowd]
    assert [each.returncode for each in crowd] == [0, 0, 0], said
    assert "damaged" not in "".join(said)
    assert not leftovers(cache)
    assert all(cache.get(each.stage, each.key) for each in cache.usage())


def test_an_entry_that_is_removed_and_stored_anew_while_it_is_read_is_read_anew(cache, monkeypatch):
    """Between the look for entry.json and the look whether its folder is there, another process prunes and stores."""
    stored(cache, meta={"n": 1})
    real = module._proved

    def late(folder: Path) -> tuple:
        monkeypatch.setattr(module, "_proved", real)
        cache.prune(0)
        with pytest.raises(FileNotFoundError):
            real(folder)
        stored(cache, meta={"n": 2})
        raise FileNotFoundError(folder / "entry.json")

    monkeypatch.setattr(module, "_proved", late)
    assert cache.get("train", "k").meta == {"n": 2}
    assert cache.get("train", "k").meta == {"n": 2}, "it was not taken for damaged"


def test_the_first_of_two_entries_is_kept(cache):
    stored(cache, meta={"n": 1}, files={"a": b"first"})
    stored(cache, meta={"n": 2}, files={"a": b"second"})
    found = cache.get("train", "k")
    assert (found.meta, found.file("a").read_bytes()) == ({"n": 1}, b"first")
    assert not leftovers(cache)


def test_a_full_disk_leaves_no_entry(cache, monkeypatch):
    def full(source, target):
        Path(target).write_bytes(b"as far as it went")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        stored(cache, files={"a": b"1"})
    assert cache.get("train", "k") is None
    assert not leftovers(cache)


@pytest.fixture
def read_only():
    """A cache with one entry in a folder that this process may only read, even where the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="tricksearch-test-"))
    cache = Cache(folder / "cache")
    stored(cache, meta={"n": 1}, files={"a": b"1"})
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield cache
    finally:
        if root:
            os.seteuid(0)
        for path in (folder, *folder.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(folder)


def test_a_read_only_cache_is_refused_for_a_run_and_can_still_be_read(read_only):
    with pytest.raises(InputError, match="cannot be written") as error:
        read_only.check()
    assert str(read_only.folder) in str(error.value)
    found = read_only.get("train", "k")
    assert (found.meta, found.file("a").read_bytes()) == ({"n": 1}, b"1")
    assert len(read_only.usage()) == 1


def test_a_file_in_the_place_of_the_cache_is_refused(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Cache(tmp_path / "cache").check()
