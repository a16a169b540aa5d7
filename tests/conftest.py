"""Before anything imports Triton: its interpreter stands in for a GPU (`test_kernels.py`)."""

import os

os.environ.setdefault("TRITON_INTERPRET", "1")
