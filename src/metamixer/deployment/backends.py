"""Backends that run a network on this machine; their packages are imported on first use."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..ops.fusion import fuse
from ..system import machine
from .description import Description
from .formats import FORMATS, import_form, missing_packages
from .program import Program, twice
from .runtime import Runtime


@dataclass(frozen=True)
class Backend:
    """A backend that runs a network.

    module: file in `runtimes` with `build(program)`; format: the file format that requires the same packages;
    precisions: supported precisions.
    """

    module: str
    format: str
    precisions: tuple[str, ...]

    def import_module(self, precision: str = "fp32") -> ModuleType:
        """Import its module; raises InputError with the install command if packages are missing."""
        return import_form(self.format, self.module, FORMATS[self.format].packages_for(precision))


BACKENDS: dict[str, Backend] = {
    "openvino": Backend("openvino", "openvino", ("fp32", "bf16", "int8")),
    "onnxruntime": Backend("onnx", "onnx", ("fp32", "int8")),
    "eager": Backend("eager", "torch", ("fp32", "bf16", "fp16")),
    "compile": Backend("compiled", "torch", ("fp32", "bf16", "fp16")),
}


def find_backend(name: str) -> Backend:
    """Find a backend by name; raises InputError for an unknown one."""
    if name not in BACKENDS:
        raise InputError(f"backend {name!r}, expected one of auto, {', '.join(BACKENDS)}")
    return BACKENDS[name]


def installed_backends() -> list[str]:
    """The backends whose packages are installed."""
    return [name for name, backend in BACKENDS.items() if not missing_packages(FORMATS[backend.format].packages)]


def computes_bfloat16(backend: str, device: torch.device) -> bool:
    """Whether a backend computes in bfloat16 on a device; if not, bfloat16 is emulated there or replaced by float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return True
    own = find_backend(backend).import_module()
    return getattr(own, "computes_bfloat16", machine.computes_bfloat16)()


def versions() -> dict[str, str]:
    """Versions of this package and the runtimes; empty for packages that aren't installed."""
    return {package: _version(package) for package in ("metamixer", "torch", "onnxruntime", "openvino")}


def build(
    backend: str, network: nn.Module, example: Tensor, *, precision: str, calibration: Tensor | None = None
) -> Runtime:
    """Fuse a network and build it in a backend and a precision.

    A fused network is shared, not copied: its gradients are turned off and its memory layout may change. Raises
    InputError if the backend doesn't support the precision or a package is missing.
    """
    way = find_backend(backend)
    if precision not in way.precisions:
        raise InputError(f"precision {precision!r}, expected one of {', '.join(way.precisions)} for backend {backend}")
    if precision == "int8" and calibration is None:
        raise InputError("precision 'int8' needs calibration inputs: calibration=images")
    make: Callable[[Program], Runtime] = way.import_module(precision).build
    program = Program(
        fuse(network).requires_grad_(False), twice(example), Description(precision), calibration=calibration
    )
    runtime = make(program)
    if runtime.shape[0] in (None, len(example)):
        return runtime
    return make(replace(program, example=example, dynamic=False))  # the network's code fixes the batch size


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
