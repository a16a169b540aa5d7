"""The environment of all tests, before anything imports the libraries that read it."""

import os

# Triton's interpreter in place of a GPU (`test_kernels.py`).
os.environ.setdefault("TRITON_INTERPRET", "1")
# OpenVINO and NNCF send no usage data from CI; otherwise each conversion forks this process to send some.
os.environ.setdefault("CI", "true")
