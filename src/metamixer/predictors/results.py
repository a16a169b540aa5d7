"""The results of predictors: plain values (tensors, arrays, dictionaries, images) that can be saved and drawn."""

import copy
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError
from ..system.files import write_picture, write_png
from ..system.json_files import write_json

MOST_SHOWN = 5
"""Maximum number of classes or objects in a result's one-line summary."""


class Result:
    """A prediction for one input.

    source: the path or URL of the input, else its kind.
    """

    source: str = ""

    def line(self) -> str:
        """A one-line summary, which is also `str(result)`."""
        raise NotImplementedError

    def draw(self) -> Image.Image:
        """A picture of the result."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values that JSON supports."""
        raise NotImplementedError

    def writers(self) -> Mapping[str, Callable[[Path], Any]]:
        """Functions that write the result, by file suffix."""
        return {
            ".json": lambda path: write_json(path, self.to_dict()),
            ".png": lambda path: write_png(path, self.draw()),
            ".jpg": lambda path: write_picture(path, self.draw()),
        }

    def save(self, path: str | Path) -> Path:
        """Write the result in the format of the file's suffix, return the path; InputError for unknown suffixes."""
        path, writers = Path(path), self.writers()
        suffix = {".jpeg": ".jpg"}.get(path.suffix.lower(), path.suffix.lower())
        if suffix not in writers:
            raise InputError(f"{path}: expected a name that ends in one of {', '.join(writers)}")
        writers[suffix](path)
        return path

    def show(self) -> None:
        """Open the picture in the system's viewer."""
        self.draw().show()

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.draw().save(file, format="PNG")
        return file.getvalue()

    def __str__(self) -> str:
        return self.line()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source}: {self})"


class TensorResult(Result, Tensor):
    """A result that is a tensor; operations on it return plain tensors."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def holding(cls, values: Tensor, /, **fields: Any) -> Self:
        """A result with these values and attributes."""
        result = values.as_subclass(cls)
        vars(result).update(fields)
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.holding(copy.deepcopy(self.plain(), memo), **copy.deepcopy(vars(self), memo))

    def plain(self) -> Tensor:
        """The values as a plain tensor."""
        return self.as_subclass(Tensor)


class ArrayResult(Result, np.ndarray):
    """A result that is an array; operations on it return arrays without the attributes."""

    @classmethod
    def holding(cls, values: np.ndarray, /, **fields: Any) -> Self:
        """A result with these values and attributes."""
        result = np.asarray(values).view(cls)
        vars(result).update(fields)
        return result

    def __reduce__(self):
        rebuild, arguments, values = super().__reduce__()
        return rebuild, arguments, (values, vars(self))

    def __setstate__(self, state) -> None:
        values, fields = state
        super().__setstate__(values)
        vars(self).update(fields)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.holding(self.view(np.ndarray).copy(), **copy.deepcopy(vars(self), memo))

    def __str__(self) -> str:
        return self.line() if self.source else str(self.view(np.ndarray))

    def __repr__(self) -> str:
        return super().__repr__() if self.source else repr(self.view(np.ndarray))
