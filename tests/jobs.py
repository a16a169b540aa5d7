"""A job of an engine, without the engine."""

import pandas

from metamixer.engine.folder import Folder
from metamixer.engine.job import Job
from metamixer.engine.shard import PREDICTIONS


def run(work, out, **begin):
    """All of a job in this process; gives the results and the sum of what its shards answer."""
    job = Job(work, Folder(str(out))).begin(**begin)
    for unit in job.work.units():
        job.spread(unit)
    held = job.work.prepare()
    answers = [job.work_through(shard, held) for shard in job.shards()]
    results = pandas.read_parquet(out / PREDICTIONS).sort_values(job.work.key, ignore_index=True)
    return results, {key: sum(answer[key] for answer in answers) for key in ("inputs", "failed")}
