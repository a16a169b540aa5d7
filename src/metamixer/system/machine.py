"""What a measurement was made on."""

import os
import platform
from pathlib import Path

import torch

from ..errors import InputError


def processor() -> str:
    """The processor's own name."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def describe_machine() -> str:
    """Cores, processor, instructions, system, PyTorch: what stands beside a result."""
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"{os.cpu_count()} cores of {processor()} ({instructions}), {platform.system()}, PyTorch {torch.__version__.split('+')[0]}"


def describe_accelerator() -> str:
    """The GPU's name before the machine's, empty without one."""
    return f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""


def computes_bfloat16() -> bool:
    """Has the processor instructions for bfloat16? Others emulate it, which takes much longer than float32."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def multiplies_int8() -> bool:
    """Has the processor instructions that multiply int8 and sum in 32 bits (VNNI, AMX, ARM's)? Others sum pairs in 16 bits."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    info = Path("/proc/cpuinfo")
    known = info.read_text() if info.is_file() else "avx512_vnni"
    return any(name in known for name in ("avx512_vnni", "avx_vnni", "amx_int8"))


def find_device(name: str) -> torch.device:
    """A device by name, such as cpu or cuda:1; raises InputError for one that is not here."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    here = ["cpu", *([accelerator.type] if accelerator else [])]
    try:
        device = torch.device(name)
        if device.type in here:
            torch.empty(0, device=device)
            return device
    except RuntimeError:
        pass
    raise InputError(f"device {name!r}, expected one that is here: {', '.join(here)}")
