"""The mark of a test that needs a GPU."""

import pytest
import torch

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that CUDA can use, and TEST_CUDA=1")
