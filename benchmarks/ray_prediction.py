"""Predicting with Ray beside plain Python: images a second, and the driver's memory as the inputs become more.

    python benchmarks/ray_prediction.py

Images are PNG bytes in one Parquet file, 96x96 for the speed (`ffnet_nano`), 32x32 for the memory (a network of 8
channels, so that 100,000 take minutes). Each row is a process of its own; seconds without the start are counted from
the first shards' end. Weights are random: they don't change the time. Rows that are in
benchmarks/results/ray_prediction.{json,md} already are not measured again.
"""

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import torch
from PIL import Image
from report import write_results

import metamixer
from metamixer.checkpoints.ours import network_info, save_network
from metamixer.data import Preprocessing
from metamixer.system.machine import describe_machine

RESULTS = Path(__file__).parent / "results/ray_prediction"
JSON = RESULTS.with_suffix(".json")
SMALL = {"dims": (8, 8, 8, 8), "depths": (1, 1, 1, 1)}
IMAGES = {96: {}, 32: SMALL}
"""Side of the images -> arguments of `ffnet_nano`."""

ROW_GROUP = 50
OBJECT_STORE = 150 * 2**20


def save_classifier(path: Path, *, side: int) -> None:
    """A network with random weights."""
    torch.manual_seed(0)
    arguments = {"num_classes": 10, **IMAGES[side]}
    about = {"classes": list("abcdefghij"), "preprocessing": Preprocessing(size=side).as_dict()}
    network = metamixer.create_model("ffnet_nano", **arguments)
    save_network(network, network_info("ffnet_nano", arguments, task="classification", **about), path)


def save_images(path: Path, count: int, *, side: int, empty: bool) -> None:
    """`count` rows of a name and the bytes of one of 16 images, or no bytes."""
    contents = []
    for seed in range(16):
        file = io.BytesIO()
        Image.fromarray(np.random.RandomState(seed).randint(0, 256, (side, side, 3), np.uint8)).save(file, "PNG")
        contents.append(file.getvalue())
    schema = pyarrow.schema({"path": pyarrow.string(), "bytes": pyarrow.binary()})
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, count, ROW_GROUP):
            rows = range(start, min(start + ROW_GROUP, count))
            columns = {
                "path": [f"{row:06d}.png" for row in rows],
                "bytes": [b"" if empty else contents[row % 16] for row in rows],
            }
            writer.write_table(pyarrow.table(columns, schema))


def in_plain_python(checkpoint: Path, table: Path) -> dict[str, float]:
    """One process, batches of 16, one thread."""
    from metamixer.predictors.classifier import Classifier

    torch.set_num_threads(1)
    classifier = Classifier.load(checkpoint)
    start, count = time.perf_counter(), 0
    for batch in parquet.ParquetFile(table).iter_batches(16, columns=["bytes"]):
        images = [Image.open(io.BytesIO(content)) for content in batch.column(0).to_pylist()]
        count += len([*classifier.top(images, 5)])
    seconds = time.perf_counter() - start
    return {"images": count, "seconds": seconds, "images_per_second": count / seconds}


def on_ray(checkpoint: Path, table: Path, out: Path, actors: int) -> dict[str, float]:
    """A cluster of this machine with so many processors as actors."""
    import ray

    from metamixer.engine.files import Files
    from metamixer.engine.folder import Folder
    from metamixer.engine.job import Job
    from metamixer.engine.ray import QUIET, run

    os.environ.update(QUIET)
    ray.init(num_cpus=actors, object_store_memory=OBJECT_STORE, include_dashboard=False, log_to_driver=False)
    start, done, memory = time.perf_counter(), [], []
    shards = min(max(parquet.read_metadata(table).num_rows // ROW_GROUP, 8), 64)
    work = Files("classification", [str(table)], {"source": str(checkpoint)}, {"top": 5}, shards=shards)
    tally = run(
        Job(work, Folder(str(out))),
        actors=actors,
        on_shard=lambda tally, shards: (done.append((time.perf_counter(), tally.inputs)), memory.append(resident())),
    )
    seconds = time.perf_counter() - start
    (first, before), (last, after) = done[actors - 1], done[-1]  # the actors' first shards are done
    ray.shutdown()
    rate = (after - before) / (last - first) if last > first else 0.0
    return {"images": tally.inputs, "seconds": seconds, "images_per_second": rate, "driver_mib": max(memory)}


def resident() -> float:
    """MiB of this process's memory; its peak would be that of building the network before."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measure(**options: object) -> dict[str, float]:
    """A call of this file in a process of its own; gives what its last line says."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        [sys.executable, __file__, *words], check=True, capture_output=True, text=True, env=environment
    )
    return json.loads(answer.stdout.splitlines()[-1])


def serve(side: int, count: int, actors: int, empty: bool) -> dict[str, float]:
    """One row of a table; actors 0: plain Python."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, table = Path(folder, "network.safetensors"), Path(folder, "images.parquet")
        save_classifier(checkpoint, side=side)
        save_images(table, count, side=side, empty=empty)
        if not actors:
            return in_plain_python(checkpoint, table)
        return on_ray(checkpoint, table, Path(folder, "out"), actors)


def report(speed: dict[str, dict], memory: dict[str, dict]) -> list[str]:
    """Both tables."""
    return [
        f"Measured on: {describe_machine()}. Load is the load average when the row starts.",
        "",
        "`ffnet_nano`, 96x96 PNG bytes in a Parquet file, one thread a process:",
        "",
        "| how | images | images a second without the start | seconds with the start | load |",
        "|---|---|---|---|---|",
        *(
            f"| {how} | {row['images']:,} | {row['images_per_second']:.1f} | {row['seconds']:.0f} | {row['load']:.0f} |"
            for how, row in speed.items()
        ),
        "",
        "Driver's largest memory when shards end, one actor, 32x32 PNG bytes; an empty input is an error row:",
        "",
        "| inputs | driver's memory | inputs a second without the start | seconds with the start | load |",
        "|---|---|---|---|---|",
        *(
            f"| {count} | {row['driver_mib']:.0f} MiB | {row['images_per_second']:.0f} | {row['seconds']:.0f} "
            f"| {row['load']:.0f} |"
            for count, row in memory.items()
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000, help="for the speed")
    parser.add_argument("--inputs", type=int, nargs="*", default=[1000, 10_000, 100_000], help="for the memory")
    parser.add_argument("--empty", type=int, default=0, help="1: the memory's inputs are empty, each an error row")
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--actors", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(serve(options.side, options.count, options.actors, options.empty)))
        return
    content = json.loads(JSON.read_text()) if JSON.exists() else {"speed": {}, "memory": {}}
    names = {0: "plain Python", 1: "Ray, 1 actor", 2: "Ray, 2 actors"}
    rows = [("speed", name, {"side": 96, "count": options.images, "actors": actors}) for actors, name in names.items()]
    kind = " empty inputs" if options.empty else " images"
    rows += [
        ("memory", f"{count:,}{kind}", {"side": 32, "count": count, "actors": 1, "empty": options.empty})
        for count in options.inputs
    ]
    for table, name, how in rows:
        if name not in content[table]:
            content[table][name] = {"load": os.getloadavg()[0], **measure(**how)}
            write_results(RESULTS, report(content["speed"], content["memory"]), content)


if __name__ == "__main__":
    main()
