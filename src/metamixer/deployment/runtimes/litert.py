"""LiteRT files (.tflite) for Android and embedded devices."""
# A separate extra that the development environment doesn't have:
# pyright: reportMissingImports=false

import threading
from pathlib import Path

import litert_torch
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from torch import Tensor

from ...errors import InputError
from ..description import KEY, Description
from ..program import Program, capture
from ..runtime import Runtime


class LiteRt(Runtime):
    """A file in LiteRT's interpreter, which runs one call at a time and is resized to each input."""

    def __init__(self, content: bytes, description: Description):
        super().__init__(description.shape, description)
        self.interpreter = Interpreter(model_content=content, num_threads=torch.get_num_threads())
        self.input = self.interpreter.get_input_details()[0]["index"]
        self.output = self.interpreter.get_output_details()[0]["index"]
        self.lock = threading.Lock()

    def run(self, x: Tensor) -> Tensor:
        """x: float32 -> float32."""
        with self.lock:
            self.interpreter.resize_tensor_input(self.input, list(x.shape))
            self.interpreter.allocate_tensors()
            self.interpreter.set_tensor(self.input, x.numpy(force=True))
            self.interpreter.invoke()
            return torch.from_numpy(self.interpreter.get_tensor(self.output))


def write(program: Program, path: Path) -> None:
    """Convert at the example's size; the interpreter resizes the batch, because the converter can't keep it free."""
    _, shape = capture(program.module, program.example, {0: torch.export.Dim.AUTO} if program.dynamic else {})
    litert_torch.convert(program.module.eval(), (program.example,)).export(str(path))
    _describe(path, program.text(shape))


def read(path: Path) -> LiteRt:
    """Load a file into LiteRT."""
    try:
        content = path.read_bytes()
        model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
        entries = {entry.name.decode(): model.buffers[entry.buffer].data for entry in model.metadata or ()}
        text = bytes(entries[KEY]).decode() if KEY in entries else None
        description = Description.from_json(text, path)
        return LiteRt(content, description)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path}: not a readable LiteRT file ({type(error).__name__}): truncated, or another kind of file"
        ) from error  # which `export` names


def _describe(path: Path, text: str) -> None:
    """Add the description to the file's metadata."""
    model = flatbuffer_utils.read_model(str(path))
    buffer = schema.BufferT()
    buffer.data = list(text.encode())
    entry = schema.MetadataT()
    entry.name, entry.buffer = KEY, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
