"""Compile the kernels for any GPU, without having one, and print each one's registers, spills and shared memory.

python benchmarks/kernels_compile.py --capability 90
"""

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from metamixer.ops.kernels import launch, launch_rows, rows, windows
from metamixer.ops.kernels.layout import cut, cut_twice

SHAPES = ((14, 7), (7, 7), (56, 3), (28, 3))
"""Side of the image and kernel size of ffnet_1's token mixers at 224 px."""
CHANNELS = 320
FLOATS = {"bias", "key_bias", "value_bias", "grad_sums", "products"}
POINTERS = FLOATS | {"x", "weight", "grad", "other", "out", "key", "value"}
CONVOLVE = {"FLIP": False, "BIAS": True, "EPILOGUE": 1}
KERNELS = {
    windows.convolve: (CONVOLVE, {"out"}),
    windows.moments: ({}, set()),
    windows.correlate: ({}, set()),
    windows.gather_taps: ({}, set()),
    windows.convolve_twice: ({}, {"out"}),
    rows.convolve: (CONVOLVE, {"out"}),
    rows.moments: ({}, set()),
    rows.correlate: ({}, set()),
    rows.convolve_twice: ({}, {"out"}),
}
"""Kernel -> its own constants, and the outputs with the type of the input."""
TWICE = {windows.convolve_twice: launch.pays_twice, rows.convolve_twice: launch_rows.pays_twice}
"""Kernel -> whether it is used for a size."""


def constants(kernel, side: int, k: int) -> dict:
    """The constants that the launches pass to a kernel for bfloat16."""
    x = torch.empty(1, CHANNELS, side, side, device="meta", dtype=torch.bfloat16)
    if kernel.fn.__module__ == rows.__name__:
        numbers = launch_rows.NUMBERS
        own = {"BLOCKS": -(-CHANNELS // numbers["CHANNELS"]), "KERNELS": launch_rows.in_a_row([(k, k), (3, 3)])}
        return launch_rows.constants_twice(x, (k, k), numbers) | launch_rows.constants(x, (k, k), numbers) | own
    if kernel is windows.convolve_twice:
        return launch.constants_twice(cut_twice(side, side, (k, k)), (k, k), x, launch.NUMBERS)
    found = cut(side, side, (k, k))
    return launch.constants(found, (k, k), x, launch.NUMBERS) | {"WINDOW_ROWS": found.window_rows}


def compile_kernel(kernel, numbers: dict, capability: int) -> str:
    """Compile to machine code and return the assembler's figures."""
    own, low = KERNELS[kernel]
    values = {**numbers, **own}
    signature, constexprs = {}, {}
    for index, argument in enumerate(kernel.arg_names):
        if argument in values:
            signature[argument], constexprs[(index,)] = "constexpr", values[argument]
        elif argument in POINTERS:
            high = argument in FLOATS or (argument == "out" and "out" not in low)
            signature[argument] = "*fp32" if high else "*bf16"
        else:
            signature[argument] = "i32"
    source = ASTSource(kernel, signature, constexprs)
    binary = triton.compile(
        source, target=GPUTarget("cuda", capability, 32), options={"num_warps": values["num_warps"]}
    )
    return f"shared memory {binary.metadata.shared}, {assemble(binary.asm['ptx'], capability)}"


def assemble(ptx: str, capability: int) -> str:
    """Registers and spills of a kernel."""
    program = Path(triton.__file__).parent / "backends/nvidia/bin/ptxas"
    architecture = f"sm_{capability}{'a' if capability >= 90 else ''}"
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        command = [program, "-v", f"--gpu-name={architecture}", file.name, "-o", "/dev/null"]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    registers, spills = re.search(r"Used (\d+) registers", report), re.search(r"(\d+) bytes spill stores", report)
    return f"registers {registers and registers[1]}, bytes spilled {spills and spills[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capability", type=int, default=90, help="80: A100, 90: H100 and H200")
    parser.add_argument("--quick", action="store_true", help="one shape")
    options = parser.parse_args()
    for side, k in SHAPES[1:2] if options.quick else SHAPES:
        for kernel in KERNELS:
            if kernel not in TWICE or TWICE[kernel](side, side, (k, k)):
                name = f"{kernel.fn.__module__.rpartition('.')[2]}.{kernel.fn.__name__}"
                print(
                    f"{k}x{k} at {side}x{side} {name}: "
                    f"{compile_kernel(kernel, constants(kernel, side, k), options.capability)}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
