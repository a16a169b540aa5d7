"""ImageNet-C: the validation images under corruptions of five severities (Hendrycks and Dietterich, 2019)."""

from functools import cached_property
from pathlib import Path

from torch.utils.data import ConcatDataset, DataLoader, Dataset

from ...errors import InputError
from ..loading import Loading, evaluation_loader
from ..module import DataModule
from ..preprocessing import Preprocessing
from .reading import LabelledImages, class_names, read_dataset


class CorruptedImageData(DataModule):
    """ROOT/CORRUPTION/SEVERITY/CLASS/IMAGE, for evaluation: one loader per corruption with all its severities.

    Args:
        root: folder with one subfolder per corruption.
        batch_size: images per batch.
    """

    def __init__(
        self, root: str, *, batch_size: int = 128, num_workers: int = 2, preprocessing: Preprocessing = Preprocessing()
    ):
        super().__init__(Loading(batch_size, num_workers))
        self.root = root
        self.preprocessing = preprocessing

    @cached_property
    def corruptions(self) -> dict[str, list[LabelledImages]]:
        """The severities of each corruption, in the order of the loaders."""
        transform = self.preprocessing.transform()
        return {
            folder.name: [
                read_dataset(
                    str(severity), batch_size=self.loading.batch_size, mode=self.preprocessing.mode, transform=transform
                )
                for severity in _folders(folder, "SEVERITY/CLASS/IMAGE")
            ]
            for folder in _folders(Path(self.root), "CORRUPTION/SEVERITY/CLASS/IMAGE")
        }

    @cached_property
    def classes(self) -> list[str] | None:
        """Class names in index order; raises InputError if the folders differ."""
        first = None
        for name, severities in self.corruptions.items():
            for images in severities:
                classes = class_names(images.reader)
                first = first or classes
                if classes != first:
                    raise InputError(
                        f"{Path(self.root, name)}: other classes than in {next(iter(self.corruptions))}, expected "
                        "the same"
                    )
        return first

    def training_dataset(self) -> Dataset:
        raise InputError(f"{self.root}: corrupted images, expected another data set to train on")

    def evaluation_dataset(self, split: str) -> ConcatDataset:
        """All corruptions in a row, whatever the split."""
        return ConcatDataset([images for severities in self.corruptions.values() for images in severities])

    def evaluation_dataloader(self, split: str) -> list[DataLoader]:
        return [
            evaluation_loader(ConcatDataset(severities), self.loading, trainer=self.trainer, persistent=False)
            for severities in self.corruptions.values()
        ]


def _folders(parent: Path, layout: str) -> list[Path]:
    folders = sorted(path for path in parent.glob("*") if path.is_dir())
    if not folders:
        raise InputError(f"{parent}: no folders in it, expected {layout}")
    return folders
