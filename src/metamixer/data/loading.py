"""Data loaders whose order and random choices depend only on the seed, the epoch and the position in it."""

import os
import random
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, default_collate

from ..errors import InputError, expect_integer

if TYPE_CHECKING:
    import lightning as L

LONGEST_FOLDER = 70
"""Of the name of a folder for sockets: multiprocessing adds 32 characters, and systems allow 103 to 107."""


LARGEST_BATCH = 2**20
MOST_WORKERS = 256
"""Reading processes that a machine bears."""


@dataclass(frozen=True)
class Loading:
    """How items become batches.

    batch_size: items per training batch and process. num_workers: reading processes. seed: of shuffling and
    augmentation. evaluation_batch_size, evaluation_workers: the same in evaluation; None: as in training. keep_last:
    keep the last, smaller batch of an epoch, which is otherwise dropped unless it is the only one.
    """

    batch_size: int
    num_workers: int = 0
    seed: int = 0
    evaluation_batch_size: int | None = None
    evaluation_workers: int | None = None
    keep_last: bool = False

    def __post_init__(self):
        expect_integer("batch_size", self.batch_size, 1, LARGEST_BATCH)
        expect_integer("num_workers", self.num_workers, 0, MOST_WORKERS)


class Place(NamedTuple):
    """Position of a training: epoch, completed batches of the epoch, number of processes, rank of this one."""

    epoch: int = 0
    batch: int = 0
    processes: int = 1
    rank: int = 0


def place_in(trainer: "L.Trainer | None") -> Place:
    """Position of a trainer; without one, the start."""
    if trainer is None:
        return Place()
    return Place(trainer.current_epoch, trainer.fit_loop.batch_idx + 1, trainer.world_size, trainer.global_rank)


def seed_of(*numbers: int) -> int:
    """Hash numbers to a seed of 56 bits."""
    return int.from_bytes(blake2b(repr(numbers).encode(), digest_size=7).digest(), "big")


def seed_generators(seed: int) -> None:
    """Seed the generators of Python, NumPy and PyTorch in this process."""
    seed_cpu_generators(seed)
    torch.manual_seed(seed)


def seed_cpu_generators(seed: int) -> None:
    """Seed the generators of Python, NumPy and PyTorch's CPU: a hundred times as fast, enough for reading an item."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)


class SeededIndex(int):
    """Index of an item, with the seed of its augmentation."""

    seed: int

    def __new__(cls, index: int, seed: int):
        self = super().__new__(cls, index)
        self.seed = seed
        return self

    def __reduce__(self):
        return SeededIndex, (int(self), self.seed)


class EpochSampler(DistributedSampler):
    """Shuffled items of an epoch for this process, starting at the trainer's batch.

    The order depends on the seed and the epoch; the seed of an item also on its position in that order. Both are the
    same for any number of workers and processes, and in a resumed run.
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


def evaluation_sampler(dataset: Dataset, trainer: "L.Trainer") -> DistributedSampler:
    """Every item once over all processes. `DistributedSampler` repeats some to give each process equally many."""
    from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler  # predicting needs no Lightning

    processes = trainer.world_size
    if len(dataset) < processes:
        raise InputError(
            f"{len(dataset)} items to evaluate on {processes} processes, expected at least one for each: "
            f"--trainer.devices {len(dataset)}"
        )
    return UnrepeatedDistributedSampler(dataset, num_replicas=processes, rank=trainer.global_rank, shuffle=False)


class SeededItems(Dataset):
    """Seed the generators before each item of a data set that is given by a `SeededIndex`."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if isinstance(index, SeededIndex):
            seed_cpu_generators(index.seed)
        return self.dataset[int(index)]

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """A batch: at once if the data set supports it, otherwise item by item."""
        if hasattr(self.dataset, "__getitems__"):
            return self.dataset.__getitems__([int(index) for index in indices])
        return [self[index] for index in indices]


class EpochLoader(DataLoader):
    """A loader that starts the epoch when its first batch is requested.

    Lightning creates the iterator before it knows the position of a resumed run, and workers would start at once, in
    the order of epoch 0.
    """

    def __iter__(self) -> Iterator:
        yield from super().__iter__()

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the trainer's checkpoint has the position. Lightning warns of loaders without this method."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Do nothing."""


class StreamLoader(EpochLoader):
    """A loader of a data set without indices; a resumed run reads the completed batches again and skips them."""

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
        """Seed the order of the stream and its workers by the epoch."""
        self.generator.manual_seed(seed_of(self.seed, place.epoch, place.rank))
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(place.epoch)
        if hasattr(getattr(self.dataset, "reader", None), "ds"):
            self.dataset.reader.ds = None  # timm's reader continues its stream, which a resumed run can't


def training_loader(
    dataset: Dataset, loading: Loading, *, trainer: "L.Trainer | None" = None, collate_fn: Callable = default_collate
) -> DataLoader:
    """Shuffled full batches, starting at the trainer's position."""
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
    """Every item once, in order.

    persistent: keep the workers for the next epoch; off for many loaders side by side, whose workers would fill memory.
    """
    workers = loading.num_workers if loading.evaluation_workers is None else loading.evaluation_workers
    sampler = None
    if trainer is not None and trainer.world_size > 1:
        if isinstance(dataset, IterableDataset):
            expect_one_process(trainer)
        sampler = evaluation_sampler(dataset, trainer)
    return DataLoader(
        dataset,
        batch_size=loading.evaluation_batch_size or loading.batch_size,
        sampler=sampler,
        collate_fn=collate_fn,
        generator=torch.Generator(),  # evaluation leaves the global generator alone
        persistent_workers=persistent and workers > 0,
        **_worker_settings(workers),
    )


def expect_one_process(trainer: "L.Trainer | None") -> None:
    """Raise InputError if several processes would share a data set without indices: their parts would be unequal."""
    if trainer is not None and trainer.world_size > 1:
        raise InputError(
            f"data.dataset is a stream, which {trainer.world_size} processes can't share evenly, expected "
            "--trainer.devices 1, or a data set on disk: folders, hfds/NAME, shards of WebDataset"
        )


def read_ahead(read: Callable[[int], object], count: int, *, threads: int) -> None:
    """Fill the cache of a data set in this process; workers start from it, and theirs end with the epoch."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(read, range(count)):
            pass


def _worker_settings(num_workers: int) -> dict:
    folder = tempfile.gettempdir()
    if num_workers and len(os.fsencode(folder)) > LONGEST_FOLDER:  # the workers' batches would never arrive
        raise InputError(
            f"folder for temporary files {folder}, expected at most {LONGEST_FOLDER} characters for the sockets of "
            "workers: set TMPDIR, or num_workers to 0"
        )
    return {
        "num_workers": num_workers,
        "pin_memory": torch.cuda.is_available(),
        "worker_init_fn": _prepare_worker,
    }


def _prepare_worker(worker: int) -> None:
    """Give a worker one thread, since it runs next to the training process, and a process group of its own.

    Signals to stop go to the group of the training process, which still needs its workers to finish the step.
    """
    torch.set_num_threads(1)
    os.setpgid(0, 0)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
