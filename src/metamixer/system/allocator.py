"""Setting of the C library's allocator to keep the memory that PyTorch frees."""

import ctypes
import sys

# malloc.h: the parameters of mallopt, and thresholds that no activation reaches.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER_TRIM, _LARGEST_BLOCK = 2**31 - 1, 2**30


def keep_freed_memory() -> bool:
    """Make this process reuse large blocks instead of returning them to the kernel; True on success.

    glibc maps every large activation anew and unmaps it after the operator, which costs page faults each time. With
    raised thresholds the process keeps its peak memory until it ends (`benchmarks/training_step.py` measures the gain).
    Other C libraries keep memory anyway or have no such setting.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK) and mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM))
