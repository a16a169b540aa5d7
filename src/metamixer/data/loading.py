"""Loaders: which item comes when, and every random choice about it, follows from the seed, the epoch and its place."""

import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, default_collate

from ..errors import InputError, at_least

if TYPE_CHECKING:
    import lightning as L


@dataclass(frozen=True)
class Loading:
    """How items become batches.

    batch_size: items in a training batch, in each process. num_workers: processes that read. seed: of shuffling and
    augmentation. evaluation_batch_size, evaluation_workers: the same in evaluation; None: as in training. keep_last:
    train on the last, smaller batch of an epoch too.
    """

    batch_size: int
    num_workers: int = 0
    seed: int = 0
    evaluation_batch_size: int | None = None
    evaluation_workers: int | None = None
    keep_last: bool = False

    def __post_init__(self):
        at_least("batch_size", self.batch_size, 1)
        at_least("num_workers", self.num_workers, 0)


class Place(NamedTuple):
    """Where a training stands: its epoch, the batches of it that are done, and this process among all."""

    epoch: int = 0
    batch: int = 0
    processes: int = 1
    rank: int = 0


def place_in(trainer: "L.Trainer | None") -> Place:
    """Where a trainer stands; without one, the beginning."""
    if trainer is None:
        return Place()
    return Place(trainer.current_epoch, trainer.fit_loop.batch_idx + 1, trainer.world_size, trainer.global_rank)


def seed_of(*numbers: int) -> int:
    """A seed that depends on all of the numbers and is alike for no two tuples of them."""
    return int.from_bytes(blake2b(repr(numbers).encode(), digest_size=7).digest(), "big")


def seed_generators(seed: int) -> None:
    """Seed the generators of Python, NumPy and PyTorch in this process."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class SeededIndex(int):
    """The number of an item, with the seed of the random choices about it."""

    seed: int

    def __new__(cls, index: int, seed: int):
        self = super().__new__(cls, index)
        self.seed = seed
        return self

    def __reduce__(self):
        return SeededIndex, (int(self), self.seed)


class EpochSampler(DistributedSampler):
    """The shuffled items of an epoch for this process, from the batch on at which the training stands.

    The order depends on the seed and the epoch alone; the random choices about an item depend on its place in that
    order too. Both are the same for any number of workers and processes, and in a run that was stopped and resumed.
    """

    def __init__(self, dataset: Dataset, loading: Loading, trainer: "L.Trainer | None"):
        place = place_in(trainer)
        super().__init__(dataset, num_replicas=place.processes, rank=place.rank, shuffle=True, seed=loading.seed)
        self.batch_size, self.trainer = loading.batch_size, trainer
        self.set_epoch(place.epoch)

    def __iter__(self) -> Iterator[SeededIndex]:
        done = place_in(self.trainer).batch * self.batch_size
        for number, index in islice(enumerate(super().__iter__()), done, None):
            yield SeededIndex(index, seed_of(self.seed, self.epoch, number * self.num_replicas + self.rank))


class EvaluationSampler(DistributedSampler):
    """Every item once over all processes; PyTorch's own repeats some, so that each process gets equally many."""

    def __init__(self, dataset: Dataset, *, processes: int, rank: int):
        super().__init__(dataset, num_replicas=processes, rank=rank, shuffle=False)
        if len(dataset) < processes:
            raise InputError(
                f"{len(dataset)} items to evaluate on {processes} processes, expected at least one for each: "
                f"--trainer.devices {len(dataset)}"
            )

    def __len__(self) -> int:
        return len(range(self.rank, len(self.dataset), self.num_replicas))

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rank, len(self.dataset), self.num_replicas))


class SeededItems(Dataset):
    """A data set whose items draw from generators that are seeded for each `SeededIndex`."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if isinstance(index, SeededIndex):
            seed_generators(index.seed)
        return self.dataset[int(index)]

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """A batch: at once where the data set can, else item by item."""
        if hasattr(self.dataset, "__getitems__"):
            return self.dataset.__getitems__([int(index) for index in indices])
        return [self[index] for index in indices]


class EpochLoader(DataLoader):
    """Begins an epoch with its first batch: Lightning makes the iterator before it knows where a resumed run stands,
    and workers would begin at once, in the order of the first epoch.
    """

    def __iter__(self) -> Iterator:
        yield from super().__iter__()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the trainer's checkpoint holds the position. Lightning warns of loaders without this method."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


class StreamLoader(EpochLoader):
    """An epoch of a data set that can only be read through; a resumed run reads what it has seen and leaves it out."""

    seed = 0
    trainer: "L.Trainer | None" = None

    def __iter__(self) -> Iterator:
        place = place_in(self.trainer)
        self._begin(place)
        batches = super().__iter__()
        number = 0
        while True:
            seed_generators(seed_of(self.seed, place.epoch, place.rank, number, 0))
            batch = next(batches, None)
            if batch is None:
                return
            if number >= place.batch:
                yield batch
            number += 1

    def _begin(self, place: Place) -> None:
        """The order of a stream, and all choices of its workers, follow from the epoch."""
        self.generator.manual_seed(seed_of(self.seed, place.epoch, place.rank))
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(place.epoch)
        if hasattr(getattr(self.dataset, "reader", None), "ds"):
            self.dataset.reader.ds = None  # timm's reader goes on in its stream, where a resumed run can't be


def training_loader(
    dataset: Dataset, loading: Loading, *, trainer: "L.Trainer | None" = None, collate_fn: Callable = default_collate
) -> DataLoader:
    """Shuffled full batches, from where the trainer stands; a last, smaller batch is dropped unless it is alone."""
    # Workers that stay would keep what they were given in their first epoch.
    options = {"batch_size": loading.batch_size, "collate_fn": collate_fn, **_worker_settings(loading.num_workers)}
    if isinstance(dataset, IterableDataset):
        expect_one_process(trainer)
        loader = StreamLoader(dataset, generator=torch.Generator(), drop_last=not loading.keep_last, **options)
        loader.seed, loader.trainer = loading.seed, trainer
        return loader
    sampler = EpochSampler(dataset, loading, trainer)
    drop_last = not loading.keep_last and len(sampler) >= loading.batch_size
    return EpochLoader(SeededItems(dataset), sampler=sampler, drop_last=drop_last, **options)


def evaluation_loader(
    dataset: Dataset,
    loading: Loading,
    *,
    trainer: "L.Trainer | None" = None,
    collate_fn: Callable = default_collate,
    persistent: bool = True,
) -> DataLoader:
    """Every item once, in order; persistent: its workers wait for the next time, which many loaders side by side would
    do in memory.
    """
    workers = loading.num_workers if loading.evaluation_workers is None else loading.evaluation_workers
    sampler = None
    if trainer is not None and trainer.world_size > 1:
        if isinstance(dataset, IterableDataset):
            expect_one_process(trainer)
        sampler = EvaluationSampler(dataset, processes=trainer.world_size, rank=trainer.global_rank)
    return DataLoader(
        dataset,
        batch_size=loading.evaluation_batch_size or loading.batch_size,
        sampler=sampler,
        collate_fn=collate_fn,
        generator=torch.Generator(),  # so that evaluation within a training takes nothing from its generator
        persistent_workers=persistent and workers > 0,
        **_worker_settings(workers),
    )


def expect_one_process(trainer: "L.Trainer | None") -> None:
    """Raises InputError where several processes would share a data set that can only be read through: they would get
    unequal parts of it.
    """
    if trainer is not None and trainer.world_size > 1:
        raise InputError(
            f"data.dataset is a stream, which {trainer.world_size} processes can't share evenly, expected "
            "--trainer.devices 1, or a data set on disk: folders, hfds/NAME, shards of WebDataset"
        )


def read_ahead(read: Callable[[int], object], count: int, *, threads: int) -> None:
    """Let a data set that keeps what it reads do so in this process: workers begin with what is there, and end with
    their epoch.
    """
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(read, range(count)):
            pass


def _worker_settings(num_workers: int) -> dict:
    return {
        "num_workers": num_workers,
        "pin_memory": torch.cuda.is_available(),
        "worker_init_fn": _prepare_worker,
    }


def _prepare_worker(worker: int) -> None:
    """Workers stand beside the training process; more than a thread each only takes processors from it.

    Signals to stop are for the training process, which needs its workers to reach the end of its step: as a group of
    their own they don't get those of a terminal or of `timeout`.
    """
    torch.set_num_threads(1)
    os.setpgid(0, 0)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
