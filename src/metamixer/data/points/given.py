"""Point clouds in any accepted form: a path, a URL, a `Cloud`, an array, a tensor, a folder, or a list of these."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...system.web import fetched, is_url
from ..given import each_of
from .clouds import Cloud, check_cloud, cloud_of_arrays, cloud_of_rows, find_clouds, kind_of, read_cloud

EXPECTED = "a path, a URL, a Cloud, or an array or tensor (points, 3), (points, 4) or (points, 6)"


def clouds_of(given: Any, intensity_max: float | None = None) -> Cloud | Path | list[Cloud | Path]:
    """A path or cloud; a list of them for a folder of clouds or several inputs.

    The columns of an array are x, y, z and, optionally, intensity or red, green, blue. A dictionary has the keys of NPZ
    files; intensity_max: see `PointPreprocessing`. Raises InputError for other types and for no clouds.
    """
    if isinstance(given, Cloud):
        return check_cloud(given, "cloud")
    if isinstance(given, Tensor | np.ndarray):
        rows = given.detach().cpu().numpy() if isinstance(given, Tensor) else given
        return check_cloud(cloud_of_rows(rows, "cloud", intensity_max), "cloud")
    if isinstance(given, Mapping):
        arrays = {key: np.asarray(value) for key, value in given.items()}
        return check_cloud(cloud_of_arrays(arrays, "cloud", intensity_max), "cloud")
    if isinstance(given, str | os.PathLike):
        return _named(str(given), intensity_max)
    return each_of(given, partial(clouds_of, intensity_max=intensity_max), what="cloud", expected=EXPECTED)


def _named(given: str, intensity_max: float | None) -> Cloud | Path | list[Cloud | Path]:
    if is_url(given):
        with fetched(given) as path:
            return read_cloud(path, intensity_max)
    path = Path(given)
    if kind_of(path) == "folder" and not (path / "coord.npy").is_file():
        return list(find_clouds([given]))
    return path
