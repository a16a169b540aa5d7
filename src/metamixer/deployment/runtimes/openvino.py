"""OpenVINO files (.xml with .bin), and networks run by OpenVINO."""

import os
import threading
from functools import cache
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from torch import Tensor

from ...errors import InputError
from ...system import machine
from ..description import KEY, Description, Shape
from ..isolated import ForeignFile, IsolatedRuntime, size_of
from ..program import Program, all_free, capture
from ..quantization import fingerprint
from ..runtime import Runtime
from . import openvino_worker

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
"""OpenVINO's precision hint; for int8, that of the operators kept in floating point."""


class OpenVino(Runtime):
    """A compiled OpenVINO model on the CPU, with PyTorch's number of threads; each caller has its own request."""

    def __init__(self, model: ov.Model, precision: str, shape: Shape, description: Description | None = None):
        super().__init__(shape, description)
        self.compiled = core().compile_model(model, "CPU", settings(precision))
        self.requests = threading.local()

    def run(self, x: Tensor) -> Tensor:
        """x: float32 -> float32."""
        if not hasattr(self.requests, "own"):
            self.requests.own = self.compiled.create_infer_request()
        answer = self.requests.own.infer([np.ascontiguousarray(x.numpy(force=True))], share_inputs=True)
        return torch.from_numpy(answer[0])


def settings(precision: str) -> dict[str, str | int]:
    """OpenVINO's options for a precision."""
    return {
        # float32, because OpenVINO emulates bfloat16 wrongly on AVX-512 processors without the instructions.
        "INFERENCE_PRECISION_HINT": "f32" if precision == "bf16" and not computes_bfloat16() else HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }


@cache
def core() -> ov.Core:
    """OpenVINO's devices and plugins, loaded once."""
    return ov.Core()


def computes_bfloat16() -> bool:
    """Whether both the processor and OpenVINO report bfloat16 support."""
    return machine.computes_bfloat16() and "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def write(program: Program, path: Path) -> None:
    """Write the model and its weights (.bin)."""
    model, shape = convert(program)
    model.set_rt_info(program.text(shape), [KEY])
    try:
        ov.save_model(model, path, compress_to_fp16=program.precision == "fp16")
    except RuntimeError as error:  # no space, no permission
        raise OSError(_last_line(error)) from None


def read(path: Path) -> IsolatedRuntime:
    """Load a file into OpenVINO, in a process of its own."""
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise InputError(f"{weights}: no such file, expected the weights next to {path.name}")
    with path.open("rb") as stream:
        if stream.read(5) not in (b"<?xml", b"<net "):  # OpenVINO would try its readers of other libraries' files
            raise InputError(f"{path}: not an OpenVINO file (no XML in it): truncated, or another kind of file")
    file = ForeignFile(path, openvino_worker.__file__, "OpenVINO", size=size_of(path, weights))
    told = file.read({"path": os.path.abspath(path), "key": KEY})
    description = Description.from_json(told["metadata"].get(KEY), path)
    file.library = f"OpenVINO {ov.__version__}"
    file.prepare({"settings": settings(description.precision)})
    return IsolatedRuntime(file, description)


def build(program: Program) -> OpenVino:
    """Build the network in OpenVINO, without a file."""
    model, shape = convert(program)
    return OpenVino(model, program.precision, shape)


def convert(program: Program) -> tuple[ov.Model, Shape]:
    """Convert to an OpenVINO model and its input shape, quantized if the precision is int8."""
    exported, shape = capture(program.module, program.example, all_free(program.example, dynamic=program.dynamic))
    try:
        model = ov.convert_model(exported)
    except Exception as error:
        raise InputError(f"OpenVINO can't represent this network ({_last_line(error)})") from None
    model.inputs[0].get_tensor().set_names({"input"})
    model.outputs[0].get_tensor().set_names({"output"})
    return (quantize(model, program) if program.precision == "int8" else model), shape


def quantize(model: ov.Model, program: Program) -> ov.Model:
    """Quantize convolutions and matrix products to int8, weights per channel, ranges from the calibration inputs."""
    import nncf

    floating = {fingerprint(weight.numpy(force=True)) for weight in program.floating}
    batches = [batch.numpy() for batch in program.calibration_batches()]
    kept = [op.get_friendly_name() for op in model.get_ops() if floating & set(map(fingerprint, _constants(op)))]
    overflow_fix = None if machine.multiplies_int8() else nncf.OverflowFix.ENABLE
    return nncf.quantize(
        model,
        nncf.Dataset(batches),
        # Symmetric ranges of activations: with asymmetric ones OpenVINO 2026.4 computes depthwise convolutions
        # wrongly on a CPU (the same file is right with its low-precision transformations off).
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(batches),
        # Without int8 dot product instructions, sums of pairs saturate at 16 bits unless weights have 7 bits.
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=overflow_fix),
        ignored_scope=nncf.IgnoredScope(names=kept) if kept else None,
    )


def _constants(op: ov.Node) -> list[np.ndarray]:
    """The weights of a quantizable operator."""
    if op.get_type_name() not in ("Convolution", "GroupConvolution", "MatMul"):
        return []
    sources = [value.get_source_output().get_node() for value in op.inputs()]
    return [source.data for source in sources if source.get_type_name() == "Constant"]


def _last_line(error: Exception) -> str:
    """The cause of an error, which follows OpenVINO's source locations."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
