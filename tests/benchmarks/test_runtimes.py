import pytest

from benchmarks import runtimes
from tricksearch.records.record import Record


def test_a_training_that_fails_ends_the_benchmark(monkeypatch):
    def failing(job):
        assert job.variants
        return [Record(0, "search", "diverged", "the loss was nan", job.seed, job.recipe)]

    monkeypatch.setattr(runtimes, "_missing", lambda base: "")
    monkeypatch.setattr(runtimes, "run_trial", failing)
    with pytest.raises(RuntimeError, match=r"1 of .* arms were recorded; the first diverged: the loss was nan"):
        runtimes.main([])
