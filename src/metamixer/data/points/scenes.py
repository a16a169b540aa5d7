"""Labeled point clouds for training and evaluation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import InputError
from ..loading import Loading
from ..module import DataModule
from .augmentation import PointAugmentation, joined, nearest
from .clouds import Cloud, find_clouds, read_cloud
from .description import IGNORED_POINT, CloudDescription, read_description
from .voxelization import PointPreprocessing

Reader = Callable[[Path], Cloud]
Voxels = dict[str, Tensor]


class TrainingClouds(Dataset):
    """Augmented scenes as voxels: features (N, C), coordinates (N, 3), labels (N,).

    repeat: passes over the scenes in an epoch.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        read: Reader,
        *,
        preprocessing: PointPreprocessing,
        augmentation: PointAugmentation,
        repeat: int = 1,
    ):
        self.paths, self.read, self.repeat = list(paths), read, repeat
        self.preprocessing, self.augmentation = preprocessing, augmentation

    def __len__(self) -> int:
        return len(self.paths) * self.repeat

    def __getitem__(self, index: int) -> Voxels:
        # PyTorch's generator is seeded by seed, epoch and worker; NumPy's is seeded from it.
        random = np.random.default_rng(int(torch.randint(2**62, ())))
        cloud = self._scene(index, random)
        if random.random() < self.augmentation.mix:
            other = self._scene(int(random.integers(len(self.paths))), random)
            cloud = joined(cloud, other, centred=self.preprocessing.centred)
        self.preprocessing.check(cloud, str(self.paths[index % len(self.paths)]))
        grid = self.preprocessing.grid(cloud)
        pick = grid.pick(random.integers(0, 2**31, len(grid.starts)))
        if self.augmentation.crop is not None:
            pick = pick[nearest(cloud.coordinates[pick], self.augmentation.crop, random)]
        return {
            "features": self.preprocessing.inputs(cloud)[pick],
            "coordinates": torch.from_numpy(grid.cells[pick] - grid.cells[pick].min(axis=0)),
            "labels": torch.from_numpy(cloud.labels[pick]),
        }

    def _scene(self, index: int, random: np.random.Generator) -> Cloud:
        return self.augmentation(self.preprocessing.placed(self.read(self.paths[index % len(self.paths)])), random)


def collate_voxels(items: Sequence[Voxels]) -> Voxels:
    """Concatenate scenes; `batch` is the scene index of each voxel."""
    batch = torch.arange(len(items)).repeat_interleave(torch.tensor([len(item["labels"]) for item in items]))
    return {**{name: torch.cat([item[name] for item in items]) for name in items[0]}, "batch": batch}


class WholeClouds(Dataset):
    """Whole scenes, unprocessed."""

    def __init__(self, paths: Sequence[Path], read: Reader):
        self.paths, self.read = list(paths), read

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Cloud:
        return self.read(self.paths[index])


def only_item(items: Sequence[Cloud]) -> Cloud:
    """Collate a batch of one whole scene."""
    return items[0]


class PointData(DataModule):
    """Base class of point cloud data; subclasses define the scenes of a split and the mapping of labels.

    Args:
        batch_size: scenes per batch and process.
        repeat: passes over the training scenes in an epoch; gives small data sets longer epochs.
        seed: of shuffling and augmentation.
    """

    classes: list[str]
    collate = staticmethod(collate_voxels)
    collate_evaluation = staticmethod(only_item)

    def __init__(
        self,
        *,
        preprocessing: PointPreprocessing = PointPreprocessing(),
        augmentation: PointAugmentation = PointAugmentation(),
        batch_size: int = 12,
        num_workers: int = 2,
        repeat: int = 1,
        seed: int = 0,
    ):
        super().__init__(Loading(batch_size, num_workers, seed, evaluation_batch_size=1))
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.repeat = repeat

    def scenes(self, split: str) -> list[Path]:
        """The scenes of "train", "val" or "test"."""
        raise InputError(f"{type(self).__name__}: no scenes of split {split!r}, expected a data set such as CloudData")

    def read(self, path: Path) -> Cloud:
        """Read a scene with labels as indices of `classes`, `IGNORED_POINT` for ignored points."""
        cloud = read_cloud(path, self.preprocessing.intensity_max)
        if cloud.labels is None:
            raise InputError(f"{path}: no labels, expected one per point")
        self.preprocessing.check(cloud, str(path))
        return replace(cloud, labels=self.numbered(cloud.labels, path))

    def numbered(self, labels: np.ndarray, path: Path) -> np.ndarray:
        """Map the file's labels to indices of `classes`; raises InputError for an unknown label."""
        wrong = labels[(labels < IGNORED_POINT) | (labels >= len(self.classes))]
        if len(wrong):
            raise InputError(
                f"{path}: label {wrong[0]}, expected {IGNORED_POINT} (ignored) or 0 to {len(self.classes) - 1}"
            )
        return labels

    def transfer_batch_to_device(
        self, batch: Voxels | Cloud, device: torch.device, dataloader_idx: int
    ) -> Voxels | Cloud:
        """Leave whole scenes on the CPU: their views and fragments move to the device one by one."""
        return batch if isinstance(batch, Cloud) else super().transfer_batch_to_device(batch, device, dataloader_idx)

    def training_dataset(self) -> TrainingClouds:
        return TrainingClouds(
            self.scenes("train"),
            self.read,
            preprocessing=self.preprocessing,
            augmentation=self.augmentation,
            repeat=self.repeat,
        )

    def evaluation_dataset(self, split: str) -> WholeClouds:
        """The whole scenes of a split."""
        return WholeClouds(self.scenes(split), self.read)


def number_labels(labels: np.ndarray, numbers: Mapping[int, int], path: Path) -> np.ndarray:
    """Map labels by `numbers` (label in the file -> index); raises InputError for a label that isn't in it."""
    present, rows = np.unique(labels, return_inverse=True)
    unknown = [int(label) for label in present if int(label) not in numbers]
    if unknown:
        raise InputError(f"{path}: label {unknown[0]}, expected one of {', '.join(map(str, sorted(numbers)))}")
    return np.array([numbers[int(label)] for label in present], dtype=np.int64)[rows]


class CloudData(PointData):
    """Any folder of labeled clouds, described by a YAML file.

    The YAML file has `classes`, a list of names or a mapping from labels to names; optionally `ignored`, a list of
    labels; `train` and `val`, files or folders relative to it, single or in a list; and optionally `test`, by default
    `val`.
    """

    def __init__(
        self,
        description: str,
        *,
        preprocessing: PointPreprocessing = PointPreprocessing(features=("position",)),
        batch_size: int = 4,
        **settings,
    ):
        super().__init__(preprocessing=preprocessing, batch_size=batch_size, **settings)
        self.path = Path(description)

    @cached_property
    def description(self) -> CloudDescription:
        """The content of the YAML file."""
        return read_description(self.path)

    @property
    def classes(self) -> list[str]:
        """Class names in index order."""
        return list(self.description.classes.values())

    def scenes(self, split: str) -> list[Path]:
        splits = self.description.splits
        return find_clouds([str(self.path.parent / file) for file in splits.get(split, splits["val"])])

    def numbered(self, labels: np.ndarray, path: Path) -> np.ndarray:
        numbers = dict.fromkeys(self.description.ignored, IGNORED_POINT)
        return number_labels(labels, numbers | {label: i for i, label in enumerate(self.description.classes)}, path)
