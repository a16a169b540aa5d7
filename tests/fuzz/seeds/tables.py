"""Tables of series, and the lists, tables and folders of a job."""

import gzip
import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from metamixer.data.series.frames import read_frame
from metamixer.data.series.large import LargeTable
from metamixer.data.series.tables import find_table, read_table
from metamixer.errors import naming
from metamixer.tasks.confusion import read_confusion
from metamixer.training.run_sheet import read_metrics

from ..kinds import Kind, each_of


def make(folder: Path) -> list[Kind]:
    import pandas

    dates = pandas.date_range("2024-01-01", periods=40, freq="h")
    wide = pandas.DataFrame({"date": dates, "a": np.arange(40.0), "b": np.sin(np.arange(40))})
    long = pandas.DataFrame({"unique_id": ["x"] * 20 + ["y"] * 20, "ds": [*dates[:20]] * 2, "y": np.arange(40.0)})
    wide.to_csv(folder / "wide.csv", index=False)
    wide.to_csv(folder / "semicolons.csv", index=False, sep=";", decimal=",")
    for name in ("long.csv", "parts.csv"):
        long.to_csv(folder / name, index=False)
    for name, table in (("packed.csv.gz", wide), ("parts.csv.gz", long)):
        (folder / name).write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    (folder / "metrics.csv").write_text("epoch,step,val/top1,train/loss\n0,1,,2.5\n0,1,0.5,\n")
    (folder / "confusion.csv").write_text("class,a,b\na,3,1\nb,0,5\n")
    tables = [Kind(name, read) for name in ("wide.csv", "semicolons.csv", "packed.csv.gz")]
    tables += [Kind(name, read_in_parts) for name in ("parts.csv", "parts.csv.gz")]
    logs = [Kind("metrics.csv", read_log), Kind("confusion.csv", read_confusion)]
    if not find_spec("pyarrow") or not find_spec("fsspec"):
        return [*tables, *logs, Kind("long.csv", read)]
    wide.to_parquet(folder / "wide.parquet")
    for name in ("long.parquet", "parts.parquet"):
        long.to_parquet(folder / name)
    read_both = each_of(read, read_in_job)
    long_tables = [Kind(f"long.{suffix}", read_both) for suffix in ("csv", "parquet")]
    tables += [Kind("wide.parquet", read), Kind("parts.parquet", read_in_parts)]
    return [*tables, *logs, *long_tables, *jobs(folder)]


def read(path: Path) -> None:
    """As `metamixer forecast` does."""
    with naming(find_table(path)):
        read_frame(read_table(path))


def read_in_parts(path: Path) -> None:
    """As `metamixer forecast` does with a large table."""
    with naming(path):
        if table := LargeTable.find(path, large=1):
            for _ in table.with_missing_rows().blocks(1):
                pass


def read_in_job(path: Path) -> None:
    """As `metamixer forecast --engine ray` does."""
    from metamixer.engine.series import read_long

    for _ in read_long(str(path)):
        pass


def read_log(path: Path) -> None:
    """The metrics of a run, as `metamixer draw` reads them."""
    run = path.with_name(f"{path.stem}_run")
    log = run / "logs/version_0/metrics.csv"
    log.parent.mkdir(parents=True)
    path.rename(log)
    read_metrics(run)


def jobs(folder: Path) -> list[Kind]:
    """Lists of inputs, Parquet files of paths and of contents, and a job's description and parts."""
    import pandas

    (folder / "list.txt").write_text("a.png\nfile:///b.png\n")
    pandas.DataFrame({"path": ["a.png", "b.png"]}).to_parquet(folder / "paths.parquet")
    contents = pandas.DataFrame({"image": [{"bytes": b"12", "path": "a.png"}, {"bytes": b"34", "path": "b.png"}]})
    contents.to_parquet(folder / "contents.parquet")
    (folder / "job.json").write_text(json.dumps({"shards": 8, "job": work().description()}))
    results = pandas.DataFrame({"input": ["a.png"], "error": [None]}).astype({"error": "string"})
    results.to_parquet(folder / "part.parquet")
    lists = [Kind(name, find_inputs) for name in ("list.txt", "paths.parquet", "contents.parquet")]
    return [*lists, Kind("job.json", resume_job), Kind("part.parquet", resume_shard)]


def find_inputs(path: Path) -> None:
    from metamixer.engine.sources import find_sources, read_source

    for source in find_sources(str(path), (".png",)):
        for _ in read_source(source):
            pass


def resume_job(path: Path) -> None:
    """A job whose folder holds another's description."""
    from metamixer.engine.folder import Folder
    from metamixer.engine.job import Job

    out = path.with_name(f"{path.stem}_out")
    (out / "predictions").mkdir(parents=True)
    path.rename(out / "job.json")
    Job(work(), Folder(str(out))).begin()


def work():
    from metamixer.engine.files import Files

    return Files("classification", ["/a"], {}, {"top": 5})


def resume_shard(path: Path) -> None:
    """A shard whose folder holds inputs and a part of its results."""
    from metamixer.engine.folder import Folder
    from metamixer.engine.shard import Shard

    out = path.with_name(f"{path.stem}_out")
    for part in ("predictions/00000/part-0.parquet", "inputs/00000/0.parquet"):
        (out / part).parent.mkdir(parents=True)
        shutil.copy(path, out / part)
    list(Shard(Folder(str(out)), 0, "input").inputs())
    Shard.begin(Folder(str(out)), 0, "input")
