"""What an error says of the machine, in the words of each library, and what a fault of the device costs."""

import errno

import pytest
import torch

from tricksearch.contract import NotApplicable, TrialError
from tricksearch.trial.faults import is_device_fault, is_out_of_memory, lost_device

MEMORY = {
    "torch": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    "torch, by CUDA": torch.AcceleratorError("CUDA error: out of memory", 2),
    "torch on a CPU": RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "cuDNN": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "cuDNN 9": RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    "ONNX Runtime": RuntimeError("Failed to allocate memory for requested buffer of size 68719476736"),
    "ONNX Runtime, C++": RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"),
    "ONNX Runtime on CUDA": RuntimeError("CUDA failure 2: out of memory ; GPU=0 ; hostname=a"),
    "OpenVINO": RuntimeError("Exception from src/inference/src/cpp/core.cpp:98: bad allocation"),
    "OpenVINO on a GPU": RuntimeError("[GPU] CL_MEM_OBJECT_ALLOCATION_FAILURE, error code: -4"),
    "NumPy": MemoryError("Unable to allocate 1.00 EiB for an array"),
    "the system": OSError(errno.ENOMEM, "Cannot allocate memory"),
}
FAULTS = {
    "torch": torch.AcceleratorError("CUDA error: an illegal memory access was encountered", 700),
    "an assertion": torch.AcceleratorError("CUDA error: device-side assert triggered", 710),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`"),
    "cuDNN": RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    "ONNX Runtime": RuntimeError("CUDA failure 700: an illegal memory access was encountered ; GPU=0"),
}


@pytest.mark.parametrize("library", MEMORY)
def test_a_lack_of_memory_is_known_in_the_words_of_each_library(library):
    assert is_out_of_memory(MEMORY[library])
    assert not is_device_fault(MEMORY[library])


@pytest.mark.parametrize("library", FAULTS)
def test_a_fault_of_the_device_is_known_and_is_no_lack_of_memory(library):
    assert is_device_fault(FAULTS[library])
    assert not is_out_of_memory(FAULTS[library])


def test_what_says_nothing_of_the_machine():
    for error in (ValueError("no luck"), RuntimeError("mat1 and mat2 shapes cannot be multiplied"), KeyError("memory")):
        assert not is_out_of_memory(error)
        assert not is_device_fault(error)


@pytest.mark.parametrize(("library", "status"), [(MEMORY["ONNX Runtime"], True), (FAULTS["torch"], False)])
def test_what_led_to_an_error_counts(library, status):
    error = TrialError("the net cannot be converted")
    error.__context__ = library
    assert is_out_of_memory(error) is status
    assert is_device_fault(error) is not status


@pytest.fixture
def sound(monkeypatch):
    """The process is sound again behind the test."""
    monkeypatch.setattr(lost_device, "why", "")


COMPRESS = """
    def compress(self, net, bench):
        try:
            {statement}
        except {caught} as error:
            raise {raised}("the net cannot be converted") from error
"""


@pytest.mark.parametrize("library", MEMORY)
def test_a_trial_that_ran_out_of_memory_is_recorded_as_that(library, trial, tricks, sound):
    error = MEMORY[library]
    raises = f"raise {type(error).__module__}.{type(error).__name__}{error.args}".replace("builtins.", "")
    bare = COMPRESS.format(statement=raises, caught="ZeroDivisionError", raised="TrialError")
    folder = tricks(bare=bare, caught=COMPRESS.format(statement=raises, caught="Exception", raised="TrialError"))
    for name in ("bare", "caught"):
        record = trial(plugins=(str(folder),), tricks={name: {}})
        assert (record.status, lost_device.why) == ("out_of_memory", ""), record.reason


def test_a_trick_that_cannot_act_is_no_lack_of_memory(trial, tricks, sound):
    body = COMPRESS.format(statement="raise ValueError('odd')", caught="Exception", raised="NotApplicable")
    record = trial(plugins=(str(tricks(own=body)),), tricks={"own": {}})
    assert (record.status, record.reason) == ("failed", "the net cannot be converted")
    assert NotApplicable.status == "failed"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("class relationship error: 3 has no parent"),
        RuntimeError("class relationship error: 3 has no parent"),
        ValueError("unable to allocate 5 blocks to 3 stages"),
        RuntimeError("unable to allocate 5 blocks to 3 stages"),
        RuntimeError("failed to allocate label 7 to a group"),
        RuntimeError("bad allocation of widths: 0"),
    ],
)
def test_a_trick_s_own_words_are_no_fault_of_the_machine(error):
    assert not is_out_of_memory(error)
    assert not is_device_fault(error)


def test_what_was_set_aside_led_to_nothing():
    error = RuntimeError("bad shape")
    error.__context__, error.__suppress_context__ = MemoryError(), True  # as `raise ... from None` has it
    assert not is_out_of_memory(error)


def test_a_fault_that_another_process_told_of_loses_none_here(sound):
    lost_device.note(
        TrialError("the runtime cannot run the file: RuntimeError: CUDA failure 700: illegal memory access")
    )
    assert lost_device.why == ""
    error = TrialError("the net cannot be converted")
    error.__cause__ = FAULTS["torch"]
    lost_device.note(error)
    assert lost_device.why.endswith("the net cannot be converted")


def test_what_may_be_either_counts_as_both():
    error = RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`")
    assert is_out_of_memory(error)
    assert is_device_fault(error)
