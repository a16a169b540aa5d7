"""The environment of all tests, before anything imports the libraries that read it."""

import gc
import os

import pytest

# Triton's interpreter in place of a GPU (`test_kernels.py`).
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
