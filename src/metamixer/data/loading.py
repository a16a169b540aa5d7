"""Data loaders whose random choices depend only on the seed, the epoch and the process."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, default_collate

from ..errors import at_least

if TYPE_CHECKING:
    import lightning as L


class EpochSampler(DistributedSampler):
    """A shuffle that depends on (seed, epoch) alone, so that a resumed run gets the batches of an uninterrupted one.

    Starting an epoch also seeds the generators of Python, NumPy and PyTorch in this process, which augmentation without
    workers, mixup and stochastic depth use.
    """

    def __init__(
        self, dataset: Dataset, *, seed: int, first_epoch: int, num_replicas: int, rank: int, generator: torch.Generator
    ):
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=True, seed=seed)
        self.generator = generator
        self.set_epoch(first_epoch)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch and with it the workers' seeds; called by Lightning."""
        super().set_epoch(epoch)
        self.generator.manual_seed(self._seed())

    def __iter__(self) -> Iterator[int]:
        seed_generators(self._seed())
        return super().__iter__()

    def _seed(self) -> int:
        return epoch_seed(self.seed, self.epoch, self.rank)


def epoch_seed(seed: int, epoch: int, rank: int) -> int:
    """A different seed for every epoch and process."""
    return (seed * 1_000_003 + epoch) * 1_009 + rank


def seed_generators(seed: int) -> None:
    """Seed the generators of Python, NumPy and PyTorch in this process."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class EpochLoader(DataLoader):
    """A loader that starts the epoch when its first batch is requested.

    Lightning creates the iterator before it knows the epoch of a resumed run, and workers would start at once, in the
    order of epoch 0.

    begin: called before the first batch; data sets with a sampler don't need it.
    """

    begin: Callable[[], None] | None = None

    def __iter__(self) -> Iterator:
        if self.begin is not None:
            self.begin()
        yield from super().__iter__()


def begin_stream(
    dataset: IterableDataset, generator: torch.Generator, *, seed: int, first_epoch: int, num_replicas: int, rank: int
) -> None:
    """Do for shards what `EpochSampler` does for indexed data sets: seed their order and augmentation by the epoch."""
    own = epoch_seed(seed, first_epoch, rank)
    generator.manual_seed(own)
    seed_generators(own)
    if hasattr(dataset, "set_epoch"):
        dataset.set_epoch(first_epoch)
    if hasattr(getattr(dataset, "reader", None), "ds"):
        dataset.reader.ds = None  # timm's reader continues its stream, which a resumed run can't


def place_in(trainer: "L.Trainer | None") -> dict[str, int]:
    """Epoch and process of a trainer as arguments of `EpochSampler`; without a trainer, the first of each."""
    if trainer is None:
        return {"first_epoch": 0, "num_replicas": 1, "rank": 0}
    return {"first_epoch": trainer.current_epoch, "num_replicas": trainer.world_size, "rank": trainer.global_rank}


def training_loader(
    dataset: Dataset,
    *,
    batch_size: int,
    num_workers: int,
    seed: int,
    trainer: "L.Trainer | None" = None,
    collate_fn: Callable = default_collate,
    keep_last: bool = False,
) -> DataLoader:
    """Shuffled full batches, starting at the trainer's epoch.

    keep_last: keep a last, smaller batch, which is otherwise dropped unless it is the only one.
    """
    at_least("batch_size", batch_size, 1)
    generator = torch.Generator()
    sampler = None
    if not isinstance(dataset, IterableDataset):
        sampler = EpochSampler(dataset, seed=seed, generator=generator, **place_in(trainer))
    loader = EpochLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        generator=generator,
        drop_last=not keep_last and (sampler is None or len(sampler) >= batch_size),
        collate_fn=collate_fn,
        # Persistent workers keep the seed of their first epoch, which differs in a resumed run.
        **_worker_settings(num_workers, persistent=False),
    )
    if isinstance(dataset, IterableDataset):
        loader.begin = lambda: begin_stream(dataset, generator, seed=seed, **place_in(trainer))
    return loader


def read_ahead(read: Callable[[int], object], count: int, *, threads: int) -> None:
    """Fill the cache of a data set in this process; workers start from it, and theirs end with the epoch."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(read, range(count)):
            pass


def evaluation_loader(
    dataset: Dataset,
    *,
    batch_size: int,
    num_workers: int,
    collate_fn: Callable = default_collate,
    persistent: bool = True,
) -> DataLoader:
    """Every item once, in order.

    persistent: keep the workers for the next epoch; off for many loaders side by side, whose workers would fill memory.
    """
    at_least("batch_size", batch_size, 1)
    settings = _worker_settings(num_workers, persistent=persistent and num_workers > 0)
    return DataLoader(dataset, batch_size=batch_size, num_workers=num_workers, collate_fn=collate_fn, **settings)


def _worker_settings(num_workers: int, *, persistent: bool) -> dict:
    at_least("num_workers", num_workers, 0)
    return {
        "pin_memory": torch.cuda.is_available(),
        "persistent_workers": persistent,
        "worker_init_fn": _use_one_thread,
    }


def _use_one_thread(worker: int) -> None:
    """Workers run next to the training process; more than one thread each would take its cores."""
    torch.set_num_threads(1)
