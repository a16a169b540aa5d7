"""PyTorch's exported program (.pt2), which runs wherever PyTorch does, without this package."""

import io
import json
import re
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from ...errors import InputError, first_line
from ..description import KEY, Description
from ..program import Program, all_free, capture
from ..runtime import Runtime

EXPRESSION = re.compile(r"(?:[\w\s()+\-*/,<>=]|'\w+')*")
CALL_OF_A_FUNCTION = re.compile(r"\b[a-z_]\w*\s*\(")
"""Allowed symbolic sizes: arithmetic and sympy classes, such as Add(Symbol('s0'), Integer(-1)), but no functions."""


class TorchProgram(Runtime):
    """A program of `torch.export`, run by PyTorch."""

    def __init__(self, program: torch.export.ExportedProgram, description: Description):
        super().__init__(description.shape, description)
        self.module = program.module()

    @torch.inference_mode()
    def run(self, x: Tensor) -> Tensor:
        """x: float32 -> float32; raises InputError for a size that the captured graph doesn't accept."""
        try:
            return self.module(x)
        except RuntimeError as error:
            if "Expected input" not in str(error):
                raise
            raise InputError(
                f"input of shape {list(x.shape)}, expected one that the file accepts ({first_line(error)})"
            ) from None


def write(program: Program, path: Path) -> None:
    """Write the captured graph with its weights."""
    exported, shape = capture(program.computing(), program.example, all_free(program.example, dynamic=program.dynamic))
    exported.example_inputs = None
    file = io.BytesIO()  # on a full disk PyTorch's own writer would abort the process
    torch.export.save(exported, file, extra_files={KEY: program.text(shape)})
    path.write_bytes(file.getbuffer())


def read(path: Path) -> TorchProgram:
    """Load a program; raises InputError for one with code, which `torch.export.load` would run."""
    files: dict[str, str] = {KEY: ""}
    try:
        _refuse_code(path)
        program = torch.export.load(path, extra_files=files)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path}: not a readable program ({type(error).__name__}): truncated, or of another PyTorch"
        ) from None
    return TorchProgram(program, Description.from_json(files[KEY], path))


def _refuse_code(path: Path) -> None:
    """Raise InputError for pickled objects other than tensors and for expressions other than arithmetic."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith(".pt") and content:
                torch.load(io.BytesIO(content), weights_only=True)
            if "/aotinductor/" in name or re.search(r"/(custom|opaque)_obj_", name):
                raise InputError(
                    f"{path}: contains compiled code or objects, expected a graph and its weights: not loaded"
                )
            if name.endswith(".json"):
                _refuse_code_in(json.loads(content), path)


def _refuse_code_in(value: object, path: Path) -> None:
    if isinstance(value, list):
        for item in value:
            _refuse_code_in(item, path)
    elif isinstance(value, dict):
        expression = value.get("expr_str", "")
        if value.get("use_pickle") or not EXPRESSION.fullmatch(expression) or CALL_OF_A_FUNCTION.search(expression):
            raise InputError(f"{path}: contains code, expected a graph and its weights: not loaded")
        for item in value.values():
            _refuse_code_in(item, path)
