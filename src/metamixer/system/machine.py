"""Description of the machine: processor, instruction sets, GPU."""

import os
import platform
import warnings
from functools import cache
from pathlib import Path

import torch

from ..errors import InputWarning

CPUINFO = Path("/proc/cpuinfo")
"""Linux's description of the processor."""

BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""Instruction sets that multiply bfloat16: two of x86, one of Arm."""

INT8 = {"avx512_vnni", "avx_vnni", "amx_int8"}
"""Instruction sets of x86 that multiply int8 and sum in 32 bits."""


def processor() -> str:
    """The name of the processor."""
    if CPUINFO.is_file():
        for line in CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def describe_machine() -> str:
    """Cores, processor, instructions, system and PyTorch version, to print with results."""
    instructions = torch.backends.cpu.get_cpu_capability()
    version = torch.__version__.split("+")[0]
    return f"{os.cpu_count()} cores of {processor()} ({instructions}), {platform.system()}, PyTorch {version}"


def describe_accelerator() -> str:
    """The GPU's name as a prefix of the machine's description; empty without a GPU."""
    return f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""


def instructions() -> frozenset[str]:
    """The processor's instruction sets in Linux's notation; on other systems those that PyTorch detects."""
    if CPUINFO.is_file():
        return read_flags(CPUINFO)
    detect = getattr(torch.cpu, "get_capabilities", dict)  # since PyTorch 2.11
    return frozenset(name for name, present in detect().items() if present is True)


@cache
def read_flags(path: Path) -> frozenset[str]:
    """The instruction sets of the first processor in a file in the format of /proc/cpuinfo."""
    fields = (line.partition(":") for line in path.read_text().splitlines())
    named = (flags.split() for name, _, flags in fields if name.strip() in ("flags", "Features"))  # x86, Arm
    return frozenset(next(named, ()))


def onednn_takes_bfloat16() -> bool:
    """Whether PyTorch uses oneDNN for bfloat16, which emulates it on AVX-512 processors without the instructions."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def computes_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16; others emulate it, much slower than float32."""
    return onednn_takes_bfloat16() and not BFLOAT16.isdisjoint(instructions())


def warn_of_emulation(option: str, instead: str) -> None:
    """Warn that an option selects bfloat16, which this processor emulates; instead: the advice."""
    warnings.warn(
        f"{option}: this processor has no instructions for bfloat16 and emulates it, much slower than float32; "
        f"{instead}",
        InputWarning,
        stacklevel=3,
    )


def multiplies_int8() -> bool:
    """Whether the processor multiplies int8 and sums in 32 bits (VNNI, AMX, Arm); others sum pairs in 16 bits."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    known = instructions()
    return not known or not INT8.isdisjoint(known)
