"""The C library's allocator, told to keep what PyTorch frees."""

import ctypes
import sys

# malloc.h: the parameters of mallopt, and thresholds that no activation reaches.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER_TRIM, _LARGEST_BLOCK = 2**31 - 1, 2**30


def keep_freed_memory() -> bool:
    """Let this process reuse large blocks in place of returning them to the kernel; True where that took effect.

    glibc maps every large activation anew and gives it back after the operator, so that each is paid for again in page
    faults. With the thresholds raised the process keeps its peak of memory until it ends (`benchmarks/training_step.py`
    measures what that spares). Other C libraries keep memory by themselves or don't offer the choice.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK) and mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM))
