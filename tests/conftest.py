"""No test is about time: on a busy machine everything takes longer. Fixtures that examples share hold no state."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# Before torch and numpy are imported: the nets are so small that a second thread only waits, and where other processes
# want the cores, threads that wait for each other at every operator cost more than the work does.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("untimed")


@pytest.fixture(autouse=True, scope="session")
def own_machine_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The machine's locks are those of this process's tests and their processes: no other's stopwatch is waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRICKSEARCH_LOCKS", str(tmp_path_factory.mktemp("locks")))
        yield
