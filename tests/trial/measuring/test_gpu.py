"""The GPU under the stopwatch. What has to wait for a counter is tested anywhere; the rest needs a GPU."""

import numpy as np
import pytest
import torch

from tests.gpu import needs_gpu
from tests.trial.runtimes import time_one
from tricksearch.contract import Deployable, Runtime, TrialError
from tricksearch.records.settings import LatencySettings
from tricksearch.trial.measuring import gpu
from tricksearch.trial.measuring import machine_lock as machine
from tricksearch.trial.measuring.runner import Runner


@pytest.fixture
def counter(monkeypatch):
    """Let NVML's counter show these percentages, one a look; the clock moves by a tenth of a second between them."""

    def shows(*percent):
        looks, clock = iter(percent), [0.0]
        monkeypatch.setattr(torch.cuda, "utilization", lambda: next(looks))
        monkeypatch.setattr(gpu.time, "monotonic", lambda: clock[0])
        monkeypatch.setattr(gpu.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
        return clock

    return shows


def test_a_gpu_at_rest_is_taken_at_once(counter):
    clock = counter(0)
    assert gpu.wait_for_rest() == ""
    assert clock == [0.0]


def test_ones_own_work_is_waited_for_until_the_counter_has_forgotten_it(counter):
    clock = counter(100, 60, gpu.REST + 1, gpu.REST)
    assert gpu.wait_for_rest() == ""
    assert clock == [pytest.approx(0.3)]


def test_a_gpu_that_others_keep_busy_is_refused(counter):
    clock = counter(*[37] * 100)
    with pytest.raises(TrialError, match="other processes keep the GPU busy, 37 % of the time after 5 s"):
        gpu.wait_for_rest()
    assert clock == [pytest.approx(gpu.PATIENCE, abs=0.11)]


def test_where_nobody_can_tell_the_record_says_so(monkeypatch):
    def absent() -> int:
        raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")

    monkeypatch.setattr(torch.cuda, "utilization", absent)
    assert gpu.wait_for_rest() == (
        "whether others used the GPU is not known: ModuleNotFoundError: nvidia-ml-py does not seem to be installed"
    )


# Runtimes of the tests. Their sources are all that crosses to the process.


def load_product(path, threads, precision):
    """A product of matrices on the GPU, whose images and logits are copied; on the device alone, half as many."""
    import torch

    matrix = torch.ones(1024, 1024, device="cuda")

    def many(times):
        for _ in range(times):
            torch.mm(matrix, matrix)

    def predict(images):
        given = torch.from_numpy(images).to("cuda")
        many(20)
        return given.flatten(1)[:, :2].cpu().numpy()

    predict.on_device = lambda images: lambda: many(10)
    return predict


@needs_gpu
def test_events_measure_the_gpu_and_not_the_host():
    matrix = torch.ones(2048, 2048, device="cuda")

    def times(count):
        def step():
            for _ in range(count):
                torch.mm(matrix, matrix)

        gpu.timed(step, 5)
        return float(np.median(gpu.timed(step, 20)))

    torch.cuda.synchronize()
    one, eight = times(1), times(8)
    assert 0 < one < eight
    assert eight / one == pytest.approx(8, rel=0.3)


@needs_gpu
def test_the_reference_waits_for_the_gpu():
    gpu.reference()()
    assert torch.cuda.current_stream().query()


@needs_gpu
def test_a_runtime_on_the_gpu_has_both_times(tmp_path):
    runner = Runner(np.zeros((4, 1, 2, 2), np.uint8))
    try:
        (tmp_path / "none").touch()
        runtime = Runtime("product", load_product, ("torch",), device="cuda")
        timing = time_one(runner, runtime, Deployable(tmp_path / "none"), LatencySettings(seconds=1.0), (1, 2, 2))
    finally:
        runner.close()
    assert 0 < timing.device_ms < timing.ms
    assert timing.device_ms <= timing.device_p95_ms
    assert timing.ratio == pytest.approx(timing.ms / timing.yardstick_ms, rel=0.2)
    assert timing.baseline_ms > 0


@needs_gpu
def test_a_trial_gives_the_gpu_up_with_an_empty_queue(tmp_path):
    matrix = torch.ones(4096, 4096, device="cuda")
    mine = machine.Machine(tmp_path)
    with mine.shared():
        for _ in range(50):
            torch.mm(matrix, matrix)
        assert not torch.cuda.current_stream().query(), "the queue is long enough for the test"
        with mine.idle():
            assert torch.cuda.current_stream().query()
    mine.close()
