"""Point clouds in files: PLY, LAS and LAZ, NPZ, NumPy arrays, KITTI's scans, and Pointcept's folders of arrays."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from ...errors import InputError, InputWarning
from ...system.files import refuse_special, written_whole
from ..arrays import read_array, read_arrays, write_arrays
from .las import read_las, write_las
from .ply import read_ply, write_ply
from .units import LIMITS, as_colours, as_share, outside

PREDICTION = "prediction"
"""Name of the predicted labels in output files."""

ROWS = "points"
"""Name of an array that may have the columns of a scan: 3 coordinates and an intensity or a color."""

SCANS = "velodyne"
"""Name of the folder of scans in KITTI's layout, beside which their labels may be."""

CLOUDCOMPARES = "scalar_Intensity"
"""CloudCompare's name of the intensity in PLY files, where it may have any scale."""

ARRAYS: dict[str, tuple[str, ...]] = {
    "coordinates": ("coord", "xyz", ROWS, "coordinates"),
    "colours": ("color", "colour", "rgb"),
    "normals": ("normal", "normals"),
    "intensity": ("intensity", "strength", CLOUDCOMPARES),
    "labels": ("label", "segment", "labels", "classification"),
}
"""Names of arrays in NPZ files and folders; `xyz_cm` are coordinates in centimeters, integer intensities are percent.
"""


@dataclass(frozen=True)
class Cloud:
    """Points and their attributes.

    coordinates: (N, 3) meters; colours: (N, 3) from 0 to 255; normals: (N, 3); intensity: (N,) from 0 to 1; labels:
    (N,) integers.
    """

    coordinates: np.ndarray
    colours: np.ndarray | None = None
    normals: np.ndarray | None = None
    intensity: np.ndarray | None = None
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.coordinates)

    def arrays(self) -> dict[str, np.ndarray]:
        """The attributes that the cloud has, by name."""
        known = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in known.items() if value is not None}

    def take(self, rows: np.ndarray) -> "Cloud":
        """A cloud of the given rows."""
        return replace(self, **{name: value[rows] for name, value in self.arrays().items()})

    def centred(self) -> "Cloud":
        """A copy with the center of its xy extent at (0, 0) and its lowest point at height 0."""
        low, high = self.coordinates.min(axis=0), self.coordinates.max(axis=0)
        return replace(self, coordinates=self.coordinates - [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])


def check_cloud(cloud: Cloud, name: str) -> Cloud:
    """Raise InputError for a cloud without points, with different lengths, or with NaN or out-of-range values."""
    if cloud.coordinates.ndim != 2 or cloud.coordinates.shape[1] != 3:
        raise InputError(f"{name}: coordinates of shape {list(cloud.coordinates.shape)}, expected (points, 3)")
    if not len(cloud):
        raise InputError(f"{name}: no points, expected at least one")
    for kind, values in cloud.arrays().items():
        width = (3,) if kind in ("colours", "normals") else ()
        if kind != "coordinates" and values.shape != (len(cloud), *width):
            raise InputError(
                f"{name}: {kind} of shape {list(values.shape)}, expected {[len(cloud), *width]}, one per point"
            )
        if kind != "labels" and not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0, 0])
            raise InputError(f"{name}: {kind} {values[row].tolist()} of point {row}, expected finite numbers")
        if kind in LIMITS and (row := outside(values, kind)) is not None:
            raise InputError(f"{name}: {kind} {values[row].tolist()} of point {row}, expected {LIMITS[kind][1]}")
    return cloud


def read_cloud(path: str | Path, intensity_max: float | None = None) -> Cloud:
    """Read a file of a type in `READERS` or a folder with coord.npy; raises InputError that names it on failure.

    intensity_max: see `PointPreprocessing`.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file")
    refuse_special(path)
    kind = kind_of(path)
    if kind not in READERS:
        raise InputError(f"{path}: kind {kind!r}, expected one of {', '.join(READERS)}")
    return check_cloud(READERS[kind](path, intensity_max), str(path))


def kind_of(path: Path) -> str:
    """The path's key in `READERS`: its lowercase suffix or "folder"."""
    return "folder" if path.is_dir() else path.suffix.lower()


def _from_ply(path: Path, full: float | None) -> Cloud:
    ply = read_ply(path)
    if not {"x", "y", "z"} <= set(ply.names()):
        raise InputError(f"{path}: vertices with {', '.join(ply.names())}, expected x, y and z")

    def columns(*names: str) -> np.ndarray | None:
        return np.stack([ply.vertices[name] for name in names], axis=1) if set(names) <= set(ply.names()) else None

    def column(kind: str) -> np.ndarray | None:
        return next((ply.vertices[name] for name in ARRAYS[kind] if name in ply.names()), None)

    intensity = column("intensity")
    if CLOUDCOMPARES in ply.names() and full is None and not ((intensity >= 0) & (intensity <= 1)).all():
        more = f"up to {intensity.max():g}, left out; expected 0 to 1, or its maximum in --intensity_max"
        warnings.warn(f"{path}: {CLOUDCOMPARES} {more}", InputWarning, stacklevel=2)
        intensity = None
    return _cloud(
        path,
        coordinates=columns("x", "y", "z"),
        colours=columns("red", "green", "blue"),
        normals=columns("nx", "ny", "nz"),
        intensity=None if intensity is None else as_share(intensity, full),
        labels=column("labels"),
    )


def _from_las(path: Path, full: float | None) -> Cloud:
    arrays = read_las(path)
    return _cloud(path, **{**arrays, "intensity": as_share(arrays["intensity"], full)})


def _from_npz(path: Path, full: float | None) -> Cloud:
    return cloud_of_arrays(read_arrays(path), path, full)


def _from_folder(path: Path, full: float | None) -> Cloud:
    return cloud_of_arrays(_folder_arrays(path), path, full)


def source_files(path: Path) -> list[Path]:
    """The files that a cloud is read from: the file itself, or the arrays of a folder."""
    return sorted(path.glob("*.npy")) if path.is_dir() else [path]


def _from_npy(path: Path, full: float | None) -> Cloud:
    return cloud_of_rows(read_array(path), path, full)


def _from_scan(path: Path, full: float | None) -> Cloud:
    cloud, labels = cloud_of_rows(read_scan(path), path, full), scan_labels_file(path)
    labeled = path.parent.name == SCANS and labels.is_file()
    return replace(cloud, labels=read_scan_labels(labels)) if labeled else cloud


def scan_labels_file(path: Path) -> Path:
    """The file of the labels of KITTI's velodyne/N.bin: labels/N.label."""
    return path.parent.parent / "labels" / f"{path.stem}.label"


def read_scan_labels(path: Path) -> np.ndarray:
    """Labels (N,) of a file of SemanticKITTI, without the instance ids in the upper 16 bits."""
    return (np.fromfile(path, dtype="<u4") & 0xFFFF).astype(np.int64)


def read_scan(path: Path) -> np.ndarray:
    """(points, 4): coordinates and intensity in a file of KITTI, little-endian float32 without a header."""
    values = np.fromfile(path, dtype="<f4")
    if len(values) % 4 or path.stat().st_size % 4:
        raise InputError(f"{path}: {path.stat().st_size} bytes, expected 16 per point, as in KITTI's scans: truncated")
    return values.reshape(-1, 4)


def cloud_of_rows(array: np.ndarray, path: str | Path, full: float | None = None) -> Cloud:
    """A cloud from an array (points, 3), (points, 4) with intensity or (points, 6) with color.

    path: for messages; full: the intensity that stands for 1.
    """
    array = _numeric(array, str(path))
    if array.ndim != 2 or array.shape[1] not in (3, 4, 6):
        raise InputError(
            f"{path}: shape {list(array.shape)}, expected (points, 3), (points, 4) with intensity or (points, 6) "
            "with color"
        )
    return _cloud(path, **_columns(array, full))


def _columns(rows: np.ndarray, full: float | None) -> dict[str, np.ndarray]:
    """The attributes in rows of 3, 4 or 6 numbers; other arrays stay coordinates."""
    if rows.ndim != 2 or rows.shape[1] not in (4, 6):
        return {"coordinates": rows}
    coordinates, more = rows[:, :3], rows[:, 3:]
    if rows.shape[1] == 6:
        return {"coordinates": coordinates, "colours": more}
    return {"coordinates": coordinates, "intensity": more if full is None else as_share(more, full)}


def cloud_of_arrays(arrays: Mapping[str, np.ndarray], path: str | Path, full: float | None = None) -> Cloud:
    """A cloud from arrays with names in `ARRAYS`; path: for messages; full: the intensity that stands for 1."""
    names = {kind: next((name for name in known if name in arrays), "") for kind, known in ARRAYS.items()}
    if "xyz_cm" in arrays:
        names["coordinates"] = "xyz_cm"
    if not names["coordinates"]:
        raise InputError(
            f"{path}: arrays {', '.join(arrays) or 'none'}, expected coordinates under "
            f"{', '.join(ARRAYS['coordinates'])}"
        )
    found = {kind: _numeric(arrays[name], f"{path}: array {name}") for kind, name in names.items() if name}
    if "xyz_cm" in arrays:
        found["coordinates"] = found["coordinates"] / 100
    if "intensity" in found and full is not None:
        found["intensity"] = as_share(found["intensity"], full)
    elif "intensity" in found and found["intensity"].dtype.kind in "iu":
        found["intensity"] = found["intensity"] / 100
    if names["coordinates"] == ROWS:
        found = {**_columns(found.pop("coordinates"), full), **found}
    return _cloud(path, **found)


def _numeric(array: np.ndarray, name: str) -> np.ndarray:
    """Return the array; raises InputError for types such as bool, complex, text or dates."""
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name} of type {array.dtype}, expected integers or floating-point numbers")
    return array


def whole_labels(labels: np.ndarray, path: str | Path) -> np.ndarray:
    """Convert numbers (N,) or (N, 1) to int64 (N,); raises InputError for NaN, fractions and numbers beyond int64."""
    wrong = labels[~((labels >= -(2**63)) & (labels < 2**63) & (labels == np.floor(labels)))]
    if len(wrong):
        raise InputError(f"{path}: label {wrong.flat[0]}, expected signed 64-bit integers")
    return _column(labels).astype(np.int64)


def read_point_labels(path: Path) -> np.ndarray:
    """Read labels (N,) int64 from a .npy file."""
    return whole_labels(_numeric(read_array(path), str(path)), path)


def _column(values: np.ndarray) -> np.ndarray:
    return values[:, 0] if values.shape[1:] == (1,) else values


def _cloud(
    path: str | Path, *, coordinates: np.ndarray, labels: np.ndarray | None = None, **known: np.ndarray | None
) -> Cloud:
    """Build a `Cloud` with its types and units from a file's arrays."""
    if known.get("colours") is not None:
        known["colours"] = as_colours(known["colours"])
    more = {kind: values.astype(np.float32) for kind, values in known.items() if values is not None}
    if "intensity" in more:
        more["intensity"] = _column(more["intensity"])
    return Cloud(coordinates.astype(np.float64), labels=None if labels is None else whole_labels(labels, path), **more)


READERS: dict[str, Callable[[Path, float | None], Cloud]] = {
    ".ply": _from_ply,
    ".las": _from_las,
    ".laz": _from_las,
    ".npz": _from_npz,
    ".npy": _from_npy,
    ".bin": _from_scan,
    "folder": _from_folder,
}
"""Suffix -> reader."""


def write_labelled(source: str | Path, out: str | Path, labels: np.ndarray) -> None:
    """Write a copy of the source file with the label of each point added as `prediction`.

    PLY, LAS and LAZ keep their format; the others become an NPZ. The file is written atomically.
    """
    source = Path(source)
    kind = kind_of(source)
    if kind == ".ply":
        write_ply(out, read_ply(source), **{PREDICTION: labels})
    elif kind in (".las", ".laz"):
        with written_whole(out) as part:
            write_las(source, part, labels, name=PREDICTION, compress=Path(out).suffix.lower() == ".laz")
    else:
        arrays = read_arrays(source) if kind == ".npz" else _unnamed_arrays(source)
        write_arrays(out, {**arrays, PREDICTION: labels.astype(np.int32)})


def _folder_arrays(source: Path) -> dict[str, np.ndarray]:
    return {file.stem: read_array(file) for file in source_files(source)}


def _unnamed_arrays(source: Path) -> dict[str, np.ndarray]:
    """The arrays of a folder, or the rows of a file by the name `ROWS`."""
    if source.is_dir():
        return _folder_arrays(source)
    return {ROWS: read_scan(source) if kind_of(source) == ".bin" else read_array(source)}


def find_clouds(inputs: Sequence[str]) -> list[Path]:
    """Find the clouds among files and folders; a folder of arrays is one cloud. Raises InputError if there are none."""
    paths: list[Path] = []
    for each in map(Path, inputs):
        if not each.exists():
            raise InputError(f"{each}: no such file or folder")
        inside = _clouds_in(each) if each.is_dir() else [each]
        if not inside:
            raise InputError(f"{each}: no point clouds found, expected files of type {', '.join(READERS)}")
        paths += inside
    return paths


def _clouds_in(folder: Path) -> list[Path]:
    """Cloud files, then folders of arrays, whose arrays aren't listed separately."""
    if (folder / "coord.npy").is_file():
        return [folder]
    rooms = {path.parent for path in folder.rglob("coord.npy")}
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in READERS and path.is_file())
    return [path for path in files if path.suffix.lower() != ".npy" or path.parent not in rooms] + sorted(rooms)
