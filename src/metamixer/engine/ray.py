"""Jobs on Ray: a process for each actor, which holds a predictor and works through one shard after the other."""

import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray
import ray.data
from ray.exceptions import RayError

from ..errors import InputError, first_line
from .job import Job
from .tally import Tally

LOCAL = {"object_store_memory": 200 * 2**20, "include_dashboard": False, "log_to_driver": False}
"""Of a cluster that is started on this machine: its results go into files, not through Ray's memory."""

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""Environment of Ray: nothing is sent home, and only what ends it is printed."""


def run(
    job: Job, *, actors: int | None = None, overwrite: bool = False, on_shard: Callable[[Tally, int], Any] | None = None
) -> Tally:
    """Do a job on the cluster that is connected or that RAY_ADDRESS names, else on this machine.

    actors: processes that predict at most; None: as many as fit. on_shard: is called with (what is done, shards) after
    each. Raises InputError where the job can't be done at all; an input that can't be used is a row with its error.
    """
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    with cluster():
        units = job.work.units()
        with job.alone():
            return _work_through(job.begin(overwrite=overwrite), units, actors, on_shard)


def _work_through(
    job: Job, units: Sequence[str], actors: int | None, on_shard: Callable[[Tally, int], Any] | None
) -> Tally:
    for _ in answers(units, spread, fn_kwargs={"job": job}, concurrency=min(actors or len(units), len(units))):
        pass
    shards, tally = job.shards(), Tally()
    predicting = pool(job.work.device, shards, actors)
    for answer in answers(shards, Predicting, fn_constructor_args=(job,), **predicting):
        tally.add(answer)
        if on_shard:
            on_shard(tally, len(shards))
    job.end()
    return tally


def pool(device: str, shards: Sequence[int], actors: int | None) -> dict[str, Any]:
    """The actors that predict, a processor or GPU each: as many as there is room for now, and later up to `actors`."""
    on_gpus = device.startswith("cuda")
    room = int(ray.cluster_resources().get("GPU" if on_gpus else "CPU", 0))
    sizes = {"min_size": 1, "max_size": actors, "initial_size": max(min(room, actors or room, len(shards)), 1)}
    return {
        "compute": ray.data.ActorPoolStrategy(**sizes, max_tasks_in_flight_per_actor=1),
        "num_gpus": int(on_gpus),
    }


def spread(batch: Mapping[str, Sequence[Any]], job: Job) -> dict[str, list[Any]]:
    """Spread a unit's inputs over the shards: a task, whose process Ray can use for an actor afterwards."""
    return answered(lambda: {"inputs": job.spread(str(batch["item"][0]))})


class Predicting:
    """An actor that holds a predictor; what keeps it from being loaded is told by its first answer."""

    def __init__(self, job: Job):
        self.job = job
        self.held: Any = None

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        return answered(lambda: self.work_through(int(batch["item"][0])))

    def work_through(self, shard: int) -> dict[str, Any]:
        self.held = self.held or self.job.work.prepare()
        return {**self.job.work_through(shard, self.held), "machine": ray.get_runtime_context().get_node_id()}


def answered(work: Callable[[], dict[str, Any]]) -> dict[str, list[Any]]:
    """A batch of one answer: Ray would wrap an InputError in its own, with a traceback."""
    try:
        answer = work()
    except InputError as error:
        answer = {"fatal": str(error)}
    return {"answer": [json.dumps(answer)]}


def answers(items: Sequence[Any], work: Callable[..., Any], **how: Any) -> Iterator[dict[str, Any]]:
    """What `work` answers to each item, in the order in which it is done; raises InputError where nothing can be
    done.
    """
    rows = ray.data.from_items(list(items), override_num_blocks=max(len(items), 1))
    done = rows.map_batches(work, batch_size=1, num_cpus=1, zero_copy_batch=False, **how)
    try:
        for row in done.iter_rows():
            answer = json.loads(row["answer"])
            if "fatal" in answer:
                raise InputError(answer["fatal"])
            yield answer
    except RayError as error:
        raise InputError(f"Ray gave up ({first_line(error)}), the same command goes on where it was") from None


@contextmanager
def cluster() -> Iterator[None]:
    """A connection to Ray, and in the end none, where there was none."""
    if ray.is_initialized():
        yield
        return
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    address = os.environ.get("RAY_ADDRESS")
    try:
        with muted():
            ray.init(logging_level="ERROR", **({} if address else LOCAL))
    except Exception as error:  # Ray raises errors of many kinds
        raise InputError(
            f"RAY_ADDRESS {address!r}, expected the address of a Ray cluster ({first_line(error)})"
            if address
            else f"Ray can't start ({first_line(error)})"
        ) from None
    try:
        with stopped_by_sigterm():
            yield
    finally:
        ray.shutdown()


@contextmanager
def muted() -> Iterator[None]:
    """Discard what Ray's native code prints to stderr as it starts, such as its log level."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Raise KeyboardInterrupt at SIGTERM, at which Ray would exit the process without a word."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
