"""Jobs in this process, which works through one shard after the other."""

from collections.abc import Callable
from platform import node
from typing import Any

from .job import Job
from .tally import Tally


def run(job: Job, *, overwrite: bool = False, on_shard: Callable[[Tally, int], Any] | None = None) -> Tally:
    """Do a job here; on_shard: is called with (what is done, shards) after each.

    Raises InputError where the job can't be done at all; an input that can't be used is a row with its error.
    """
    units = job.work.units()
    with job.alone():
        job = job.begin(overwrite=overwrite)
        for unit in units:
            job.spread(unit)
        shards, tally, held = job.shards(), Tally(), job.work.prepare()
        for shard in shards:
            tally.add({**job.work_through(shard, held), "machine": node()})
            if on_shard:
                on_shard(tally, len(shards))
        job.end()
    return tally
