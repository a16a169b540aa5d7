"""The environment of all tests, before anything imports the libraries that read it."""

import gc
import importlib
import os

import pytest

# Triton's interpreter in place of a GPU (`test_kernels.py`, `test_accelerated_networks.py`).
os.environ.setdefault("TRITON_INTERPRET", "1")
# OpenVINO and NNCF send no usage data from CI; otherwise each conversion forks this process to send some.
os.environ.setdefault("CI", "true")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect no garbage during the imports, and later none of what they hold; it took up to 7 % of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        gc.set_threshold(10_000)


@pytest.fixture
def shallow(monkeypatch):
    """`ffnet_nano` with one block per stage, where a test needs a network by its name and no trained weights."""
    from metamixer.models.ffnet import VARIANTS

    monkeypatch.setitem(VARIANTS["ffnet_nano"], "depths", (1, 1, 1, 1))


@pytest.fixture(scope="module")
def operators():
    """The operators, run by the interpreter that is selected before Triton is imported."""
    patch = pytest.MonkeyPatch()
    from metamixer.ops import kernels

    patch.setattr(kernels, "INTERPRETED", True)
    multiply_bfloat16(patch)
    yield importlib.import_module("metamixer.ops.kernels.operators")
    patch.undo()


def multiply_bfloat16(patch):
    """Let the interpreter multiply bfloat16 matrices, whose bits it takes for integers."""
    import numpy as np
    from triton import language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    def widened(x):
        bits = x.data.astype(np.uint32) << 16
        return TensorHandle(bits.view(np.float32), tl.float32) if x.dtype.scalar == tl.bfloat16 else x

    dot = InterpreterBuilder.create_dot
    patch.setattr(InterpreterBuilder, "create_dot", lambda self, a, b, *rest: dot(self, widened(a), widened(b), *rest))
