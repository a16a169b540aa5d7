"""What was measured on this GPU: for which sizes the kernels pay, and how each is launched.

`benchmarks/kernels.py` writes the table of a GPU. It is read from `measured.json` beside this module, if there is one,
or from the file that METAMIXER_KERNELS_TABLE names. Sizes that aren't in it use the kernels, launched by default.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from ...errors import InputError

TABLE = "METAMIXER_KERNELS_TABLE"
"""Environment variable: a file that `benchmarks/kernels.py` wrote."""

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
    content = json.loads(path.read_text()) if path.is_file() else {}
    PAYS.clear()
    LAUNCHES.clear()
    for row in content["sizes"] if content.get("gpu") == gpu() else ():
        size = (*row["kernel"], *row["image"])
        for form, theirs in row["PyTorch"].items():
            ours = {name: found["ms"] for name, found in row[form].items()}
            total = 2 * ours["convolve"] + ours["correlate"]  # forward, and both gradients
            PAYS[form, size] = always or total < theirs
            LAUNCHES.update({(form, name, size): found["numbers"] for name, found in row[form].items()})


def gpu() -> str:
    """The name of the first GPU, for tables."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"


def pays(form: str, kernel: tuple[int, int], image: tuple[int, int]) -> bool:
    """Whether a form of the kernels is worth using for a kernel size and images of a size."""
    return not PAYS or PAYS.get((form, (*kernel, *map(int, image))), True)


def launch(form: str, name: str, kernel: Size, image: Size, default: Mapping[str, int]) -> Mapping[str, int]:
    """The numbers with which a kernel is launched."""
    return LAUNCHES.get((form, name, (*kernel, *image)), default)
