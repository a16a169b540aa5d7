"""What was measured on this GPU: for which sizes the kernels pay, and how each is launched.

`benchmarks/kernels.py` writes the table of a GPU. It is read from `measured.json` beside this module, if there is one,
or from the file that METAMIXER_KERNELS_TABLE names. Sizes that aren't in it use the kernels, launched by default.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from ...errors import InputError, first_line

TABLE = "METAMIXER_KERNELS_TABLE"
"""Environment variable: a file that `benchmarks/kernels.py` wrote."""

MOST = 2**20
"""Maximum of a launch's numbers."""

POWERS_OF_TWO = ("M", "CHUNK", "R", "CHANNELS", "WARPS")

Size = tuple[int, ...]
"""Rows and columns of the kernel and of the images."""

PAYS: dict[tuple[str, Size], bool] = {}
"""(form, size) -> whether training is faster than with PyTorch; form: windows or rows."""

LAUNCHES: dict[tuple[str, str, Size], dict[str, int]] = {}
"""(form, kernel, size) -> the fastest numbers of a launch."""


def load(*, always: bool = False) -> None:
    """Read the table; one of another GPU doesn't count. Not done at each use, which torch.compile can't trace.

    always: every size pays.
    """
    named = os.environ.get(TABLE)
    path = Path(named or Path(__file__).with_name("measured.json"))
    if named and not path.is_file():
        raise InputError(f"{TABLE} {named}: no such file, expected one that benchmarks/kernels.py wrote")
    sizes = read_sizes(path) if path.is_file() else []
    PAYS.clear()
    LAUNCHES.clear()
    for form, size, times, theirs, numbers in sizes:
        total = 2 * times["convolve"] + times["correlate"]  # forward, and both gradients
        PAYS[form, size] = always or total < theirs
        LAUNCHES.update({(form, name, size): each for name, each in numbers.items()})


def read_sizes(path: Path) -> list[tuple[str, Size, dict[str, float], float, dict[str, dict[str, int]]]]:
    """Form, size, milliseconds of each kernel and of PyTorch, and each kernel's numbers; none of another GPU.

    Raises InputError that names the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [
            (
                form,
                (*map(int, (*row["kernel"], *row["image"])),),
                {name: float(row[form][name]["ms"]) for name in ("convolve", "correlate")},
                float(theirs),
                {name: launch_numbers(each["numbers"]) for name, each in row[form].items()},
            )
            for row in (content["sizes"] if content["gpu"] == gpu() else ())
            for form, theirs in row["PyTorch"].items()
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(
            f"{path}: can't be read ({first_line(error)}), expected a table that benchmarks/kernels.py wrote"
        ) from None


def launch_numbers(row: Mapping[str, object]) -> dict[str, int]:
    """The numbers of a launch; raises ValueError for what no kernel can be launched with."""
    numbers = {key: int(value) for key, value in row.items()}
    for key, value in numbers.items():
        if not 1 <= value <= MOST or (key in POWERS_OF_TWO and value & (value - 1)):
            raise ValueError(f"{key} {value}")
    return numbers


def gpu() -> str:
    """The name of the first GPU, for tables."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"


def pays(form: str, kernel: tuple[int, int], image: tuple[int, int]) -> bool:
    """Whether a form of the kernels is worth using for a kernel size and images of a size."""
    return not PAYS or PAYS.get((form, (*kernel, *map(int, image))), True)


def launch(form: str, name: str, kernel: Size, image: Size, default: Mapping[str, int]) -> Mapping[str, int]:
    """The numbers with which a kernel is launched."""
    return {**default, **LAUNCHES.get((form, name, (*kernel, *image)), {})}
