"""A whole trial, on real digits: every measure is taken, and whatever goes wrong becomes a record with its reason."""

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tricksearch.contract import Deployable, InputError, discover
from tricksearch.records.measures import MEASURES
from tricksearch.records.record import Record
from tricksearch.trial.job import Job
from tricksearch.trial.measuring.machine_lock import Machine
from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME, load
from tricksearch.trial.run import run_trial
from tricksearch.trial.training.workbench import Bench

TRICKS = discover()
# What makes a trick's trial short; a trick that is not here runs with its defaults.
CHEAP = {"images": 32, "epochs": 0.1, "teacher_epochs": 0.5}


def cheap(name: str) -> dict[str, object]:
    return {key: value for key, value in CHEAP.items() if hasattr(TRICKS[name], key)}


@pytest.fixture
def run_with(trial, tricks):
    """Run a trial with one trick of the test's own, called `own`."""

    def run(body: str, **keys) -> Record:
        folder = str(tricks(own=body))
        return trial(plugins=[folder], tricks={"own": {}} | keys.pop("tricks", {}), **keys)

    return run


def leftovers(scratch: Path) -> list[str]:
    """What trials left in their temporary folder, but for torch's own cache."""
    names = [file.name for file in scratch.iterdir()]
    return [name for name in names if not name.startswith("torchinductor")]


def check_finished(record: Record) -> None:
    assert (record.status, record.reason) == ("finished", "")
    for name in MEASURES:
        value = getattr(record, name)
        assert value is not None, name
        assert math.isfinite(value), name
        assert value >= 0, name
    assert record.accuracy <= 100
    assert record.f1 <= 100
    assert 0 < record.latency_ms <= record.latency_p95_ms
    assert record.train_seconds < record.wall_seconds


def test_a_plain_trial(trial, scratch, tmp_path):
    record = trial(data={"validation_images": 60})
    check_finished(record)
    assert record.params == (8 * 9 + 16) + 2 * (8 * 8 * 9 + 16) + 8 * 10 + 10
    assert record.macs == 64 * (8 * 9 + 2 * 8 * 8 * 9) + 8 * 10
    assert record.file_bytes > 4 * record.params
    assert record.validation_images == 60
    assert record.latency_runs >= 15
    assert record.accuracy * 60 / 100 == pytest.approx(round(record.accuracy * 60 / 100)), "a share of 60 images"
    assert (record.seed, record.phase, record.tricks) == (0, "search", {})
    assert record.hardware["cores"] >= 1
    assert record.versions["torch"] == torch.__version__.partition("+")[0]
    assert record.started.endswith("+00:00")
    assert not leftovers(scratch)
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert Record.from_json(record.to_json() | {"of a later version": 1}) == record


def test_accuracy_is_the_same_twice(trial):
    keys = {"data": {"train_images": 200}, "train": {"epochs": 3}, "tricks": {"mixup": {}, "onecycle": {}}}
    first, second = trial(**keys), trial(**keys)
    assert (first.accuracy, first.f1) == (second.accuracy, second.f1)
    assert first.accuracy > 20, "twice chance"
    assert first.accuracy != trial(seed=1, **keys).accuracy or first.f1 != trial(seed=1, **keys).f1


@pytest.mark.parametrize("name", TRICKS)
def test_each_trick_alone_runs_to_the_end(name, trial):
    reason = TRICKS[name].unavailable()
    if reason:
        pytest.skip(reason)
    # Wide enough that there is something to remove; enough images to calibrate on.
    record = trial(net={"widths": [16, 32]}, tricks={name: cheap(name)}, reraise=True)
    check_finished(record)
    assert record.tricks == {name: cheap(name)}


def test_one_trick_of_each_claim_all_at_once(trial, scratch):
    # Not every runtime takes every precision; each is run in the conformance grid.
    able = [name for name in TRICKS if TRICKS[name].unavailable() is None and TRICKS[name].claims != "runtime"]
    chosen = {TRICKS[name].claims or name: name for name in able}
    assert len(chosen) >= 7
    record = trial(net={"widths": [16, 32]}, tricks={name: cheap(name) for name in chosen.values()}, reraise=True)
    check_finished(record)
    assert not leftovers(scratch)


RUNTIME = """
def runtime(self, runtime, bench):
    return Runtime("own", load, ("onnxruntime",), options={{"log": "{path}"}})

# behind the class
def load(path, threads, precision, log):
    import onnxruntime
    session = onnxruntime.InferenceSession(path)
    def predict(images):
        with open(log, "a") as file:
            file.write(str(threads) + " " + str(len(images)) + chr(10))
        logits = session.run(None, {{"images": images}})[0]
        return {returns}
    return predict
"""


def test_latency_takes_the_batch_that_was_asked_for(run_with, tmp_path):
    log = tmp_path / "calls.txt"
    keys = {"latency": {"batch": 70, "threads": 2}, "data": {"validation_images": 30}}
    check_finished(run_with(RUNTIME.format(path=str(log), returns="logits"), **keys))
    calls = {tuple(map(int, line.split())) for line in log.read_text().splitlines()}
    assert 70 in {size for threads, size in calls if threads == 2}, "images are repeated to fill a batch"
    assert {size for threads, size in calls if threads == 1} == {30}


FAILURES = {
    "an error": ("raise ValueError('no\\nluck')", "failed", "ValueError: no luck"),
    "without words": ("raise KeyError", "failed", "KeyError: KeyError"),
    "a check": ("assert False", "failed", "AssertionError: AssertionError"),
    "cannot act": ("raise NotApplicable('nothing to act on')", "failed", "nothing to act on"),
    "memory": ("raise MemoryError", "out_of_memory", "MemoryError: MemoryError"),
    "a GPU's memory": ("raise torch.OutOfMemoryError('CUDA out of memory.')", "out_of_memory", "CUDA out of memory"),
    "too much": ("torch.empty(2**50)", "out_of_memory", "can't allocate memory"),
    "too much numpy": ("__import__('numpy').empty(2**60, dtype='u1')", "out_of_memory", "Unable to allocate"),
    "a net's output": ("return lambda logits, batch: logits.sum() * float('nan')", "diverged", "in epoch 1 of 1"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_becomes_a_record(case, run_with, scratch):
    statement, status, reason = FAILURES[case]
    record = run_with(f"def loss(self, loss, bench):\n    {statement}\n    return loss\n")
    assert record.status == status
    assert reason in record.reason
    assert "\n" not in record.reason
    assert not record.finished
    assert record.accuracy is record.latency_ms is record.params is None
    assert record.wall_seconds > 0
    assert record.tricks == {"own": {}}
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert not leftovers(scratch)
    with Machine().alone():  # and the machine is free again
        pass


@pytest.mark.parametrize("hook", ["data", "model", "optimizer", "schedule", "batch", "weights", "compress", "deploy"])
def test_an_error_in_any_hook_is_told(hook, run_with):
    record = run_with(f"def {hook}(self, thing, bench):\n    raise ValueError('in {hook}')\n")
    assert (record.status, record.reason) == ("failed", f"ValueError: in {hook}")


def test_what_no_trial_could_run_without_is_no_record(trial, run_with, scratch):
    """Recorded as failures, they would use up a whole study."""
    with pytest.raises(InputError, match="Did you mean 'digits'"):
        trial(data={"name": "digit"})
    with pytest.raises(InputError, match="the disk is full"):
        run_with("def loss(self, loss, bench):\n    raise OSError(28, 'No space left on device')\n")
    assert not leftovers(scratch)


def test_bad_input_of_one_recipe_is_its_failure(trial):
    record = trial(net={"name": "resnet_small", "stem": "small"})
    assert record.status == "failed"
    assert "has a small stem already" in record.reason
    with pytest.raises(InputError, match="small stem"):
        trial(net={"name": "resnet_small", "stem": "small"}, reraise=True)


def test_an_interrupt_passes_through(run_with, scratch):
    with pytest.raises(KeyboardInterrupt):
        run_with("def loss(self, loss, bench):\n    raise KeyboardInterrupt\n")
    assert not leftovers(scratch)


def test_a_deployable_whose_logits_are_not_finite_fails(run_with):
    record = run_with(RUNTIME.format(path="/dev/null", returns='logits * float("nan")'))
    assert (record.status, record.reason) == ("failed", "the deployable returned logits that are not finite")


def test_what_is_measured_is_the_deployed_file(run_with, trial):
    """A deploy hook that replaces the file by one that always guesses class 3."""
    body = """
    def deploy(self, deployable, bench):
        class Three(torch.nn.Module):
            def forward(self, images):
                return torch.zeros(images.shape[0], 10) + torch.eye(10)[3] + 0 * images.mean()
        path = bench.folder / "three.onnx"
        torch.onnx.export(Three(), (torch.zeros(2, 1, 8, 8),), str(path), dynamo=False, input_names=["images"],
                          output_names=["logits"], dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}})
        return Deployable(path)
    """
    record = run_with(body, data={"validation_images": 60})
    check_finished(record)
    assert record.accuracy == pytest.approx(10, abs=2)
    assert record.f1 < 3
    assert record.file_bytes < trial().file_bytes


def test_a_compress_hook_that_leaves_the_net_in_training_mode_changes_nothing(run_with, trial):
    keys = {"data": {"train_images": 200}, "train": {"epochs": 3}}
    record = run_with("def compress(self, net, bench):\n    return net.train()\n", **keys)
    plain = trial(**keys)
    assert (record.accuracy, record.f1, record.macs) == (plain.accuracy, plain.f1, plain.macs)


def test_the_training_time_is_without_the_teacher(run_with, tmp_path, monkeypatch):
    """On a clock that moves on by a thousand seconds with the teacher's training."""
    real_clock, real_train, ahead = time.perf_counter, Bench.train, [0.0]

    def train(bench, net, *more):
        ahead[0] += 1000.0 * (bench.recipe.train.epochs == 2)
        return real_train(bench, net, *more)

    monkeypatch.setattr(Bench, "train", train)
    monkeypatch.setattr(time, "perf_counter", lambda: real_clock() + ahead[0])
    body = """
    def loss(self, loss, bench):
        SEEN.append(bench.teacher("", 2.0))
        return loss
    """
    first = run_with(body, cache=tmp_path / "shared")
    ahead[0] = 0.0
    second = run_with(body, cache=tmp_path / "shared", seed=1)
    assert 0 < first.train_seconds < 1000
    assert first.spent_seconds > 1000 + first.train_seconds - 0.001, "what it cost is with the teacher"
    assert first.wall_seconds > 1000
    assert second.spent_seconds == pytest.approx(second.train_seconds, abs=0.001)
    assert second.wall_seconds < 1000, "the teacher of the first was found"


def test_exported_logits_are_the_net_s(run_with, tricks, seen):
    body = """
    def compress(self, net, bench):
        SEEN.append(net)
        return net

    def deploy(self, deployable, bench):
        (HERE / "shipped.onnx").write_bytes(deployable.path.read_bytes())
        return deployable
    """
    check_finished(run_with(body, train={"epochs": 2}))
    folder = tricks()
    images = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = seen(discover([folder]), "own")[-1].float()(images).numpy()
    got = load(ONNX_RUNTIME, Deployable(folder / "shipped.onnx"), 1)(images.numpy())
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_stages_are_noted_in_order(tiny_recipe, scratch, tmp_path):
    notes, start = [], time.monotonic()
    (record,) = run_trial(Job.of(tiny_recipe(), 0, cache=tmp_path, trial=7, phase="baseline"), note=notes.append)
    assert notes == ["train", "compress", "export", "deploy", "measure", "export", "time"], "the plain net's too"
    assert (record.trial, record.phase) == (7, "baseline")
    assert record.wall_seconds <= time.monotonic() - start + 0.0005  # it is rounded to a millisecond
