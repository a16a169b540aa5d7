"""A file that a foreign library runs, in a process of its own: the library may crash at a file that was changed."""

import weakref
from pathlib import Path
from subprocess import Popen
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..system.worker import Message, Worker
from .description import Description
from .runtime import Runtime
from .sizes import MEMORY, TIMES_INPUT

TIMES_FILE, MEMORY_OF_THREAD = 20, 128 * 2**20
"""Memory that loading a file may take beside `sizes.MEMORY`: so many times the file, and so much for each thread."""
SECONDS, FILE_SPEED, INPUT_SPEED = 40, 2**20, 10_000
"""CPU time of each thread for loading and for an input: so much, and what it takes at so many bytes a second."""


class ForeignFile:
    """The process of a file; `script`: with a function `answer` (`system.worker`); library: its name in messages."""

    def __init__(self, path: Path, script: str, library: str, *, size: int):
        self.path, self.library, self.size = path, library, size
        self.worker = Worker(script)
        self.ready: Popen | None = None
        weakref.finalize(self, self.worker.close)

    def read(self, about: dict[str, Any], *parts: bytes) -> dict[str, Any]:
        """What the file says of itself; raises InputError where it isn't readable."""
        answer = self._load(about, *parts)
        problem = "its reader failed" if answer is None else answer[0].get("last") or answer[0].get("error")
        if problem:
            raise InputError(
                f"{self.path}: not a readable {self.library} file ({problem}): truncated, or another kind of file"
            )
        return answer[0]

    def prepare(self, about: dict[str, Any]) -> None:
        """Make the library ready to run the file; raises InputError where it can't."""
        answer = self._load(about)
        if answer is None or "error" in answer[0]:
            raise self._failed(answer)
        if answer[0]["inputs"] != 1:
            raise InputError(f"{self.path}: {answer[0]['inputs']} inputs, expected 1")
        self.ready = self.worker.process

    def run(self, x: np.ndarray) -> np.ndarray:
        """The output for a float32 input; raises InputError where the library fails, or has failed before."""
        if self.worker.process is not self.ready:
            raise InputError(f"{self.path}: its process has ended, or is that of another process; load the file again")
        memory = MEMORY + TIMES_INPUT * x.nbytes
        answer = self._ask({"shape": x.shape, "memory": memory}, x.tobytes(), seconds=SECONDS + x.nbytes / INPUT_SPEED)
        if answer is None or "error" in answer[0]:
            raise self._failed(answer)
        return np.frombuffer(bytearray(answer[1][0]), np.float32).reshape(answer[0]["shape"])

    def _load(self, about: dict[str, Any], *parts: bytes) -> Message | None:
        memory = MEMORY + TIMES_FILE * self.size + MEMORY_OF_THREAD * torch.get_num_threads()
        return self._ask({**about, "memory": memory}, *parts, seconds=SECONDS + self.size / FILE_SPEED)

    def _ask(self, about: dict[str, Any], *parts: bytes, seconds: float) -> Message | None:
        return self.worker.ask(about, *parts, seconds=seconds * torch.get_num_threads())

    def _failed(self, answer: Message | None) -> InputError:
        problem = "it crashed, or took too long" if answer is None else answer[0].get("last") or answer[0]["error"]
        return InputError(f"{self.path}: {self.library} can't run it ({problem})")


class IsolatedRuntime(Runtime):
    """A file in a process of its own, with PyTorch's number of threads; calls of several threads take turns."""

    def __init__(self, file: ForeignFile, description: Description):
        super().__init__(description.shape, description)
        self.file = file

    def run(self, x: Tensor) -> Tensor:
        """x: float32 -> float32."""
        return torch.from_numpy(self.file.run(np.ascontiguousarray(x.numpy(force=True))))


def size_of(*paths: Path) -> int:
    """Bytes of files."""
    return sum(path.stat().st_size for path in paths)
