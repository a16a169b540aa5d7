"""Public benchmarks: ScanNet v2 and ScanNet200, S3DIS, SemanticKITTI."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import InputError
from .class_names import KITTI_CLASSES, S3DIS_CLASSES, SCANNET200_CLASSES, SCANNET_CLASSES
from .clouds import Cloud, check_cloud, read_cloud, read_point_labels, scan_labels_file
from .scenes import IGNORED_POINT, PointData, number_labels
from .voxelization import PointPreprocessing

KITTI_IGNORED = (0, 1, 52, 99)
KITTI_VAL = ("08",)


class _RoomData(PointData):
    """Rooms in Pointcept's preprocessed layout: one folder each, with coord, color, normal and labels as .npy."""

    label_file: str
    root: Path

    def rooms(self, folders: Sequence[Path]) -> list[Path]:
        """The rooms in the folders, sorted."""
        found = [path.parent for folder in folders for path in sorted(folder.glob("*/coord.npy"))]
        if not found:
            raise InputError(
                f"{folders[0]}: no rooms found, expected Pointcept's folders such as {folders[0]}/scene/coord.npy"
            )
        return found

    def read(self, path: Path) -> Cloud:
        cloud = read_cloud(path, self.preprocessing.intensity_max)
        labels = read_point_labels(path / self.label_file)
        cloud = check_cloud(replace(cloud, labels=labels), str(path))
        self.preprocessing.check(cloud, str(path))
        return replace(cloud, labels=self.numbered(labels, path))


class ScanNetData(_RoomData):
    """ScanNet v2 with 20 classes, or ScanNet200.

    root: folder with `train` and `val`.
    """

    def __init__(self, root: str, *, num_classes: int = 20, **settings):
        super().__init__(**settings)
        if num_classes not in (20, 200):
            raise InputError(f"num_classes {num_classes}, expected 20 or 200")
        self.root = Path(root)
        self.classes = list(SCANNET_CLASSES if num_classes == 20 else SCANNET200_CLASSES)
        self.label_file = f"segment{num_classes}.npy"

    def scenes(self, split: str) -> list[Path]:
        return self.rooms([self.root / ("train" if split == "train" else "val")])


class S3DISData(_RoomData):
    """S3DIS: six areas of offices, with `test_area` for testing: 5 in most papers, each in turn for 6-fold results.

    root: folder with `Area_1` to `Area_6`.
    """

    label_file = "segment.npy"

    def __init__(self, root: str, *, test_area: int = 5, **settings):
        super().__init__(**settings)
        if test_area not in range(1, 7):
            raise InputError(f"test_area {test_area}, expected 1 to 6")
        self.root = Path(root)
        self.test_area = test_area
        self.classes = list(S3DIS_CLASSES)

    def scenes(self, split: str) -> list[Path]:
        areas = [area for area in range(1, 7) if (area == self.test_area) != (split == "train")]
        return self.rooms([self.root / f"Area_{area}" for area in areas])


class SemanticKITTIData(PointData):
    """SemanticKITTI: lidar scans of streets with 19 classes; sequence 08 is for validation.

    root: folder of the sequences 00 to 10, each with `velodyne/*.bin` and `labels/*.label` as published, or with
    NPZ files of coordinates, intensity and raw labels.
    """

    def __init__(
        self,
        root: str,
        *,
        preprocessing: PointPreprocessing = PointPreprocessing(0.05, ("position", "intensity"), centred=False),
        **settings,
    ):
        super().__init__(preprocessing=preprocessing, **settings)
        self.root = Path(root)
        self.classes = list(KITTI_CLASSES)

    def scenes(self, split: str) -> list[Path]:
        folders = [f"{i:02d}" for i in range(11) if (f"{i:02d}" in KITTI_VAL) != (split == "train")]
        files = [
            path
            for folder in folders
            for kind in ("*.npz", "velodyne/*.bin")
            for path in sorted((self.root / folder).glob(kind))
        ]
        if not files:
            raise InputError(
                f"{self.root}: no scans of sequences {', '.join(folders)}, expected folders such as "
                f"{self.root / folders[0]}"
            )
        return files

    def read(self, path: Path) -> Cloud:
        if path.suffix == ".bin" and not (labels := scan_labels_file(path)).is_file():
            raise InputError(f"{labels}: no such file, expected the labels of {path}")
        return super().read(path)

    def numbered(self, labels: np.ndarray, path: Path) -> np.ndarray:
        numbers = dict.fromkeys(KITTI_IGNORED, IGNORED_POINT)
        numbers |= {raw: i for i, raws in enumerate(KITTI_CLASSES.values()) for raw in raws}
        return number_labels(labels, numbers, path)
