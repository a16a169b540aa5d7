"""PyTorch's exported program (.pt2), which runs wherever PyTorch does, without this package."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from ...errors import InputError, first_line
from ...system.weight_files import expect_finite
from ..description import KEY, Description
from ..program import Program, all_free, capture
from ..runtime import Runtime
from ..sizes import TooLargeError, expect_usual_size
from ..torch_archive import read_safely


class TorchProgram(Runtime):
    """A program of `torch.export`, run by PyTorch."""

    def __init__(self, program: torch.export.ExportedProgram, description: Description, path: Path):
        super().__init__(description.shape, description)
        self.module = program.module()
        self.path = path
        self.sized: set[torch.Size] = set()

    def run(self, x: Tensor) -> Tensor:
        """x: float32 -> float32; raises InputError for a size that the captured graph doesn't accept."""
        if x.shape not in self.sized:
            self._expect_usual_size(x)
            self.sized.add(x.shape)
        with torch.inference_mode():
            return self._run(x)

    def _expect_usual_size(self, x: Tensor) -> None:
        """Raise InputError for a graph that makes tensors out of all proportion, before it does."""
        try:
            expect_usual_size(self.module, tuple(x.shape))
        except TooLargeError as error:
            raise InputError(f"{self.path}: {error}, expected tensors in proportion to the input: not run") from None
        except RuntimeError:
            return  # PyTorch will say the same of the input itself

    def _run(self, x: Tensor) -> Tensor:
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
    """Load a program; one that holds anything but a graph and finite weights is refused (`torch_archive`)."""
    file, text = read_safely(path, KEY)
    description = Description.from_json(text, path)
    try:
        with silent_loading():
            program = torch.export.load(file)
    except Exception as error:
        raise InputError(
            f"{path}: not a readable program ({type(error).__name__}): truncated, or of another PyTorch"
        ) from None
    expect_finite(program.state_dict, path)
    return TorchProgram(program, description, path)


@contextmanager
def silent_loading() -> Iterator[None]:
    """Keep PyTorch from logging a traceback of what it then raises."""
    logger = logging.getLogger("torch.export")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
