"""Base class of the data modules, which define their datasets and how items become a batch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import lightning as L
from torch.utils.data import DataLoader, Dataset, default_collate

from .loading import Loading, evaluation_loader, training_loader


class DataModule(L.LightningDataModule, ABC):
    """A training set, evaluation sets, and their loaders.

    A data set with `read_ahead(threads=)`, which fills its cache, fills it before the workers start.

    collate, collate_evaluation: items -> a batch, in training and in evaluation.
    """

    collate: ClassVar[Callable[[Any], Any]] = staticmethod(default_collate)
    collate_evaluation: ClassVar[Callable[[Any], Any]] = staticmethod(default_collate)

    def __init__(self, loading: Loading):
        super().__init__()
        self.loading = loading

    @abstractmethod
    def training_dataset(self) -> Dataset:
        """The training split with augmentation."""

    @abstractmethod
    def evaluation_dataset(self, split: str) -> Dataset:
        """A split ("train", "val" or "test"), preprocessed for evaluation."""

    def train_dataloader(self) -> DataLoader:
        dataset = self.training_dataset()
        if self.loading.num_workers and hasattr(dataset, "read_ahead"):
            dataset.read_ahead(threads=self.loading.num_workers)
        return training_loader(dataset, self.loading, trainer=self.trainer, collate_fn=self.collate)

    def val_dataloader(self) -> DataLoader | Sequence[DataLoader]:
        return self.evaluation_dataloader("val")

    def test_dataloader(self) -> DataLoader | Sequence[DataLoader]:
        return self.evaluation_dataloader("test")

    def evaluation_dataloader(self, split: str) -> DataLoader | Sequence[DataLoader]:
        """The loader of "val" or "test"."""
        dataset = self.evaluation_dataset(split)
        return evaluation_loader(dataset, self.loading, trainer=self.trainer, collate_fn=self.collate_evaluation)
