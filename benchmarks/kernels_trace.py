"""Trace the kernels through torch.compile with unknown sizes, as for a GPU but without one.

    TRITON_INTERPRET=0 python benchmarks/kernels_trace.py

Prints the number of launches in the graphs forward and backward, for each memory layout.
"""

from contextlib import suppress

import torch
import triton
from torch._functorch.aot_autograd import aot_module_simplified
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase

from metamixer.ops.kernels import operators


class H100(DriverBase):
    """What Triton asks of a driver while nothing is launched."""

    def __init__(self):
        pass

    @classmethod
    def is_active(cls) -> bool:
        return True

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def map_python_to_cpp_type(self, ty: str) -> str:
        return ty

    def get_benchmarker(self):
        raise NotImplementedError


class TracedError(Exception):
    """Ends a call before it would launch."""


def count(graph: torch.fx.GraphModule, inputs: list):
    """Print the launches of a graph instead of compiling it."""
    print(sum("triton_kernel_wrapper" in str(node.target) for node in graph.graph.nodes))

    def stop(*inputs):
        raise TracedError

    return stop


def function(x, weight, bias):
    means, variances = operators.moments(x, [weight[:, 0], weight[:, 0, 1:-1, 1:-1]])
    return operators.depthwise(x, weight, bias, gelu=True).sum() + means.sum() + variances.sum()


def main() -> None:
    triton.runtime.driver.set_active(H100())
    compiled = torch.compile(
        function,
        backend=lambda graph, inputs: aot_module_simplified(graph, inputs, fw_compiler=count, bw_compiler=count),
        dynamic=True,
        fullgraph=True,
    )
    for layout in (torch.contiguous_format, torch.channels_last):
        inputs = torch.empty(8, 6, 14, 15).to(memory_format=layout), torch.empty(6, 1, 7, 7), torch.empty(6)
        with suppress(TracedError):
            compiled(*(value.requires_grad_() for value in inputs))


if __name__ == "__main__":
    main()
