"""Point clouds of small rooms, with their YAML."""

from pathlib import Path

import numpy as np

from metamixer.data.points.clouds import Cloud

ROOM = 400


def room(seed: int) -> dict[str, np.ndarray]:
    """A floor (class 0) and a wall (class 1); some points have no class."""
    random = np.random.default_rng(seed)
    floor = np.c_[random.uniform(0, 2, (ROOM, 2)), np.zeros(ROOM)]
    wall = np.c_[random.uniform(0, 2, ROOM), np.zeros(ROOM), random.uniform(0.2, 2, ROOM)]
    labels = np.repeat([0, 1], ROOM)
    labels[::40] = -1
    colours = np.repeat([[200, 180, 150], [90, 90, 220]], ROOM, axis=0) + random.integers(-30, 30, (2 * ROOM, 3))
    return {"coord": np.concatenate([floor, wall]), "color": colours, "label": labels}


def cloud_of(arrays: dict[str, np.ndarray]) -> Cloud:
    return Cloud(arrays["coord"], colours=arrays["color"].astype(np.float32), labels=arrays["label"])


def write_rooms(folder: Path) -> Path:
    """Write three rooms with their YAML; return the folder."""
    for i in range(3):
        np.savez(folder / f"room{i}.npz", **room(i))
    (folder / "clouds.yaml").write_text(
        "classes: ['floor, tiled', wall]\ntrain: [room0.npz, room1.npz]\nval: [room2.npz]\n"
    )
    return folder
