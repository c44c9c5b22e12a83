"""What a key holds of a trick beside its own file: its teacher's recipe, and the `load` of its runtime."""

import importlib
import linecache
import sys

import pytest

from tricksearch.contract import Runtime
from tricksearch.records.settings import NetSettings

ORDER = ("train", "compress", "deploy", "score", "test")


def changed(before, after):
    return {stage for stage in before if before[stage] != after[stage]}


@pytest.fixture
def other_default(monkeypatch):
    """A net that names no stem has the small one from now on."""

    def change():
        monkeypatch.setattr(NetSettings.model_fields["stem"], "default", "small")
        NetSettings.model_rebuild(force=True)

    yield change
    monkeypatch.undo()
    NetSettings.model_rebuild(force=True)


BY_A_FIXED_RECIPE = """
def loss(self, loss, bench):
    bench.teacher({"net": {"widths": [16]}}, 1.0)
    return loss
"""


def test_the_defaults_of_a_teacher_s_net_are_in_the_student_s_keys(keys, other_default, tricks):
    folder = str(tricks(taught=BY_A_FIXED_RECIPE))
    students = [
        {"tricks": {"distillation": {"teacher": {"net": {"widths": [16]}}}}},
        {"tricks": {"distillation": {"teacher": "resnet_small"}}},
        {"tricks": {"taught": {}}, "plugins": [folder]},
    ]
    net = {"stem": "standard"}  # the student's own, which is written out
    before = [keys(net=net, **student) for student in students]
    alone = keys(net=net, tricks={"mixup": {}})
    other_default()
    assert NetSettings().stem == "small"
    for earlier, student in zip(before, students, strict=True):
        assert changed(earlier, keys(net=net, **student)) == set(ORDER)
    assert keys(net=net, tricks={"mixup": {}}) == alone


def test_the_code_of_a_teacher_s_teacher_s_tricks_is_in_the_student_s_keys(keys, tricks):
    def of(rate):
        body = f"""
        def schedule(self, schedule, bench):
            return lambda step, steps: {rate}
        """
        inner = {"distillation": {"teacher": {"tricks": {"constant": {}}}}}
        outer = {"distillation": {"teacher": {"tricks": inner}}}
        return keys(tricks=outer, plugins=[str(tricks(constant=body))])

    assert changed(of(0.1), of(0.1)) == set()
    assert changed(of(0.1), of(0.2)) == set(ORDER)


def a_runtime(folder, monkeypatch, result, name="one_runtime", lines=""):
    """A runtime whose `load` stands in a module of its own, no trick's."""
    (folder / f"{name}.py").write_text(f"def load(path, threads, precision):\n{lines}    return lambda x: {result}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    linecache.clearcache()
    importlib.invalidate_caches()
    return Runtime("own", importlib.import_module(name).load, packages=())


def test_the_load_of_a_runtime_outside_the_trick_s_file_is_in_the_keys_of_what_it_runs(keys, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # both texts are written within one second
    first = keys(a_runtime(tmp_path, monkeypatch, "x + 1"))
    assert changed(first, keys(a_runtime(tmp_path, monkeypatch, "x + 1"))) == set()
    assert changed(first, keys(a_runtime(tmp_path, monkeypatch, "x + 2"))) == {"score", "test", "latency"}


def test_the_engine_s_code_that_a_load_imports_is_in_the_keys_of_what_it_runs(keys, edit, tmp_path, monkeypatch):
    lines = "    from tricksearch.toolkit import quantize\n"
    runtime = a_runtime(tmp_path, monkeypatch, "x", "quantizing_runtime", lines)
    before = keys(runtime)
    edit(lambda path, text: f"{text}\nMORE = 1\n" if path == "toolkit/quantize.py" else text)
    assert changed(before, keys(runtime)) == {"score", "test", "latency"}
