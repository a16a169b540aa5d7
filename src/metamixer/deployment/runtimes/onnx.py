"""ONNX files, and networks run by ONNX Runtime."""

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from torch import Tensor

from ...errors import InputError
from ...system.machine import multiplies_int8
from ..description import KEY, NAMES, Description, Shape
from ..isolated import ForeignFile, IsolatedRuntime
from ..program import Program, all_free, capture
from ..quantization import fingerprint
from ..runtime import Runtime
from . import onnx_worker

OPSET = 20
"""The first opset with a GELU operator."""


class OnnxRuntime(Runtime):
    """An ONNX Runtime session on the CPU, with PyTorch's number of threads."""

    def __init__(self, model: bytes, shape: Shape, description: Description | None = None):
        super().__init__(shape, description)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def run(self, x: Tensor) -> Tensor:
        """x: float32 -> float32."""
        return torch.from_numpy(self.session.run(None, {self.input: x.numpy(force=True)})[0])


def write(program: Program, path: Path) -> None:
    """Write the graph of PyTorch's ONNX exporter, checked by onnx."""
    model, shape = convert(program)
    onnx.helper.set_model_props(model, {KEY: program.text(shape)})
    onnx.save(model, path)


def read(path: Path) -> IsolatedRuntime:
    """Load a file into ONNX Runtime, in a process of its own."""
    content = path.read_bytes()
    file = ForeignFile(path, onnx_worker.__file__, "ONNX", size=len(content))
    told = file.read({}, content)
    description = Description.from_json(told["metadata"].get(KEY), path)
    if told["external"]:
        raise InputError(f"{path}: weights in other files, expected them in it, as metamixer export writes them")
    file.library = f"ONNX Runtime {onnxruntime.__version__}"
    file.prepare({"threads": torch.get_num_threads()})
    return IsolatedRuntime(file, description)


def build(program: Program) -> OnnxRuntime:
    """Build the network in ONNX Runtime, without a file."""
    model, shape = convert(program)
    return OnnxRuntime(model.SerializeToString(), shape)


def convert(program: Program) -> tuple[onnx.ModelProto, Shape]:
    """Convert to an ONNX model and its input shape, quantized if the precision is int8."""
    exported, shape = capture(program.computing(), program.example, all_free(program.example, dynamic=program.dynamic))
    result = torch.onnx.export(
        exported, dynamo=True, opset_version=OPSET, input_names=["input"], output_names=["output"], verbose=False
    )
    model = _tidy(result.model_proto)
    if program.precision == "int8":
        model = quantize(model, program)
    onnx.checker.check_model(model, full_check=True)
    return model, shape


def quantize(model: onnx.ModelProto, program: Program) -> onnx.ModelProto:
    """Quantize convolutions and matrix products to int8, weights per channel, ranges from the calibration inputs."""
    floating = {fingerprint(weight.numpy(force=True)) for weight in program.floating}
    constants = {tensor.name: fingerprint(onnx.numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
    kept = [node.name for node in model.graph.node if any(constants.get(name) in floating for name in node.input)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "int8.onnx")
        quantize_static(
            model,
            path,
            _Batches(program.calibration_batches()),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
            per_channel=True,
            # Without int8 dot product instructions, sums of pairs saturate at 16 bits unless weights have 7 bits.
            reduce_range=not multiplies_int8(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=kept,
        )
        return onnx.load(path)


class _Batches(CalibrationDataReader):
    """The calibration batches with ONNX Runtime's interface."""

    def __init__(self, batches: Iterable[Tensor]):
        self.batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"input": batch.numpy()}


def _tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give free sizes readable names, and remove the exporter's metadata, which contains paths of this machine."""
    sizes = model.graph.input[0].type.tensor_type.shape.dim
    names = NAMES.get(len(sizes), [f"size{i}" for i in range(len(sizes))])
    readable = {
        size.dim_param: name
        for size, name in zip(sizes, names, strict=True)
        if size.dim_param and not size.dim_param.isdigit()
    }
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param.isdigit():
                size.dim_value = int(size.dim_param)
            elif size.dim_param:
                size.dim_param = re.sub(r"\bs\d+\b", lambda match: readable.get(match[0], match[0]), size.dim_param)
    for part in (*model.graph.node, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    return model
