"""What an exception says of the machine: that memory ran out, or that a device no longer works in this process.

Libraries tell both in kinds and words of their own. No library is imported to know them, for the runner has none.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from tricksearch.contract import InputError, TrialError

MEMORY_KINDS = ("OutOfMemoryError",)  # of torch and of Ray; no kind of MemoryError
MEMORY_WORDS = (
    "out of memory",  # CUDA, cuDNN, OpenCL, Level Zero
    "outofmemory",
    "allocate memory",  # "can't ..." of torch on a CPU, "Cannot ..." of the system, "Failed to ..." of ONNX Runtime
    r"unable to allocate [\d.]+ ?[kmgt]?i?b(ytes)?\b",  # NumPy
    r"failed to allocate (memory|[\d.]+ ?[kmgt]?i?b)",  # ONNX Runtime, TensorRT
    "not enough memory",
    "insufficient memory",
    "bad_alloc",  # C++, as ONNX Runtime hands it on
    r"bad allocation$",
    "alloc_failed",  # CUBLAS_STATUS_... and CUDNN_STATUS_...
    "allocation_failed",  # CUDNN_STATUS_INTERNAL_ERROR_DEVICE_...
    "allocation_failure",  # CL_MEM_OBJECT_...
    "cl_out_of_host_memory",
    "exceeded max size of memory",  # of a GPU's plugin
)
# A handle that found no room on the device, or a device that no longer works: the trial is tried again, elsewhere.
EITHER_WORDS = ("cublas_status_not_initialized", "cudnn_status_not_initialized")
DEVICE_KINDS = ("AcceleratorError",)  # of torch
DEVICE_WORDS = (
    "cuda error",
    "cuda failure",  # ONNX Runtime
    "hip error",
    "device-side assert",
    "illegal memory access",
    "misaligned address",
    "unspecified launch failure",
    "cublas_status_execution_failed",
    "cublas_status_internal_error",
    "cudnn_status_execution_failed",
    "cudnn_status_mapping_error",
    "cl_device_not_available",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, the machine's or a device's, ran out: in this exception, or in one that led to it."""
    return any(_memory(link) for link in _chain(error))


def is_device_fault(error: BaseException) -> bool:
    """Whether a device reported a fault after which nothing works on it in this process: here, or on the way here.

    A lack of memory is none, but for the words that may stand for both. Some faults that leave the device usable are
    taken for one: a new process costs seconds.
    """
    return any(_is_lost(link) for link in _chain(error))


def status_of(error: Exception) -> tuple[str, str]:
    """The status of a trial that ended so, and the reason in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    memory = is_out_of_memory(error)
    if isinstance(error, TrialError):
        return "out_of_memory" if memory and error.status == "failed" else error.status, text
    if isinstance(error, InputError):
        return "failed", text
    return "out_of_memory" if memory else "failed", f"{type(error).__name__}: {text}"[:500]


def let_go(error: BaseException) -> None:
    """Drop the frames that an error holds, and with them the nets and images of the variant that failed."""
    link: BaseException | None = error
    while link is not None and link.__traceback__ is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__


def _memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return _is(error, MEMORY_KINDS, (*MEMORY_WORDS, *EITHER_WORDS))


def _is_lost(error: BaseException) -> bool:
    if _is(error, (), EITHER_WORDS):
        return True
    return _is(error, DEVICE_KINDS, DEVICE_WORDS) and not _memory(error)


def _is(error: BaseException, kinds: tuple[str, ...], words: tuple[str, ...]) -> bool:
    if any(kind.__name__ in kinds for kind in type(error).__mro__):
        return True
    if isinstance(error, LookupError | TypeError | ValueError | InputError):
        return False  # no library tells of a machine in these kinds, and a trick's own words may sound alike
    text = str(error).lower()
    return any(re.search(rf"(?<![a-z]){word}", text) for word in words)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception, then what it was raised from or in the handling of, back to the first."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


class LostDevice:
    """The fault that made this process useless for further trials, where there was one."""

    def __init__(self) -> None:
        self.why = ""  # in one line; "" while the process is sound

    def note(self, error: BaseException) -> None:
        """Hear of an error that ended a variant: a TrialError's own words may be those of another process."""
        if not self.why and any(_is_lost(link) for link in _chain(error) if not isinstance(link, TrialError)):
            self.why = " ".join(f"{type(error).__name__}: {error}".split())[:500]


lost_device = LostDevice()
