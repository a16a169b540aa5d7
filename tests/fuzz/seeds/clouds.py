"""Point clouds, their labels, and arrays for calibration."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from metamixer.data.points.clouds import read_cloud, read_point_labels, write_labelled
from metamixer.deployment.samples import read_samples

from ..kinds import Kind, each_of

POINTS = 50


def make(folder: Path) -> list[Kind]:
    random = np.random.default_rng(1)
    xyz = random.random((POINTS, 3)).astype(np.float32)
    colours = random.integers(0, 255, (POINTS, 3))
    np.save(folder / "cloud.npy", np.hstack([xyz, colours.astype(np.float32)]))
    np.save(folder / "coord.npy", xyz)
    np.save(folder / "segment.npy", np.arange(POINTS).reshape(-1, 1))
    np.save(folder / "sample.npy", random.random((3, 8, 8)).astype(np.float32))
    np.savez(folder / "cloud.npz", coord=xyz, color=colours, segment=np.arange(POINTS), normal=xyz)
    np.savez_compressed(folder / "packed.npz", coord=xyz, strength=random.random(POINTS))
    write_ply(folder, xyz)
    read = each_of(write_labels)
    names = ["cloud.npy", "cloud.npz", "packed.npz", "binary.ply", "big.ply", "text.ply", *write_las(folder, xyz)]
    arrays = [
        Kind("coord.npy", read_room),
        Kind("segment.npy", read_point_labels),
        Kind("sample.npy", read_sample),
    ]
    return [*(Kind(name, read) for name in names), *arrays]


def write_ply(folder: Path, xyz: np.ndarray) -> None:
    head = (
        f"ply\nformat {{}} 1.0\ncomment a\nelement vertex {POINTS}\nproperty float x\nproperty float y\n"
        "property float z\nelement face 1\nproperty list uchar int vertex_index\nend_header\n"
    )
    for name, form, order in (("binary", "binary_little_endian", "<"), ("big", "binary_big_endian", ">")):
        body = xyz.astype(f"{order}f4").tobytes() + b"\x03" + np.arange(3, dtype=f"{order}i4").tobytes()
        (folder / f"{name}.ply").write_bytes(head.format(form).encode() + body)
    lines = "".join(f"{x:.4f} {y:.4f} {z:.4f}\n" for x, y, z in xyz)
    (folder / "text.ply").write_text(f"{head.format('ascii')}{lines}3 0 1 2\n")


def write_las(folder: Path, xyz: np.ndarray) -> list[str]:
    if not find_spec("laspy"):
        return []
    import laspy

    for suffix, version, form in (("las", "1.2", 3), ("laz", "1.4", 7)):
        file = laspy.create(point_format=form, file_version=version)
        file.x, file.y, file.z = xyz.T
        file.write(folder / f"cloud.{suffix}")
    return ["cloud.las", "cloud.laz"]


def write_labels(path: Path) -> None:
    """As `metamixer points` does."""
    cloud = read_cloud(path)
    write_labelled(path, path.with_name(f"out_{path.name}"), np.zeros(len(cloud), np.int64))


def read_sample(path: Path) -> None:
    """A folder of arrays for calibration."""
    folder = path.with_name(f"{path.stem}_samples")
    folder.mkdir()
    path.rename(folder / f"{path.stem}.npy")
    read_samples(folder, None, torch.zeros(1, 3, 8, 8), limit=1)


def read_room(path: Path) -> None:
    """A folder of arrays, one of which is the one to read."""
    room = path.with_name(f"{path.stem}_room")
    room.mkdir()
    path.rename(room / "coord.npy")
    cloud = read_cloud(room)
    write_labelled(room, path.with_name("out.npz"), np.zeros(len(cloud), np.int64))
