"""Core ML programs (.mlpackage): written on any platform, run on macOS and iOS only."""

import json
import logging
import sys
from pathlib import Path

import coremltools as ct
import numpy as np
import torch
from torch import Tensor, nn

from ...errors import InputError
from ..description import KEY, Description
from ..program import Program, capture
from ..runtime import Runtime, in_batches

BATCHES = (1, 2, 4, 8, 16)
"""Batch sizes of a program, ascending; with an open range instead of a list the neural engine isn't used."""


class CoreMl(Runtime):
    """A program run by Core ML, on macOS."""

    def __init__(self, model: ct.models.MLModel, description: Description):
        super().__init__(description.shape, description)
        self.model = model

    def run(self, x: Tensor) -> Tensor:
        """x: float32 -> float32."""
        return in_batches(self._predict, x, BATCHES) if self.shape[0] is None else self._predict(x)

    def _predict(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.model.predict({"input": x.numpy(force=True)})["output"])


def write(program: Program, path: Path) -> None:
    """Convert for iOS 16, macOS 13 and later, in the batch sizes of `BATCHES`."""
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    free = {0: torch.export.Dim("batch", min=BATCHES[0], max=BATCHES[-1])} if program.dynamic else {}
    exported, shape = capture(program.module, program.example, free)
    sizes = [(batch, *program.example.shape[1:]) for batch in BATCHES]
    size = ct.EnumeratedShapes(sizes, default=sizes[0]) if program.dynamic else tuple(program.example.shape)
    model = ct.convert(
        exported.run_decompositions({}),
        inputs=[ct.TensorType("input", size, np.float32)],
        outputs=[ct.TensorType("output", dtype=np.float32)],
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=ct.precision.FLOAT16 if program.precision == "fp16" else ct.precision.FLOAT32,
        skip_model_load=True,
    )
    model.user_defined_metadata[KEY] = program.text(shape)
    model.user_defined_metadata["classes"] = json.dumps(program.description.network.get("classes") or [])
    model.save(str(path))


def read(path: Path) -> CoreMl:
    """Load a program; on other platforms than macOS it can be inspected but not run."""
    try:
        model = ct.models.MLModel(str(path), skip_model_load=sys.platform != "darwin")
        text = model.user_defined_metadata.get(KEY)
    except Exception as error:
        raise InputError(
            f"{path}: not a readable Core ML program ({type(error).__name__}): truncated, or another kind of file"
        ) from None
    return CoreMl(model, Description.from_json(text, path))


def check_structure(path: Path, module: nn.Module) -> None:
    """Check without running that it is an ML program with one input, one output and all convolutions of the network."""
    specification = read(path).model.get_spec()
    kind = specification.WhichOneof("Type")
    if kind != "mlProgram":
        raise InputError(f"{path}: contains a {kind}, expected an ML program")
    function = specification.mlProgram.functions["main"]
    operators = [operation.type for operation in function.block_specializations[function.opset].operations]
    found = sum(operator in ("conv", "linear") for operator in operators)
    expected = sum(isinstance(layer, nn.modules.conv._ConvNd | nn.Linear) for layer in module.modules())
    names = [value.name for value in (*specification.description.input, *specification.description.output)]
    if found != expected or names != ["input", "output"]:
        raise InputError(
            f"{path}: {found} convolutions and linear layers between {names}, expected {expected} as in the network: "
            "not written"
        )
