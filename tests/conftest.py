"""Select Triton's interpreter in place of a GPU before anything imports Triton (`test_kernels.py`)."""

import os

os.environ.setdefault("TRITON_INTERPRET", "1")
