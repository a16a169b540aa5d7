"""Jobs on a local Ray cluster of two nodes, one of which is killed in the middle. Skipped where Ray isn't installed."""

import io
import json
import os
import re
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image

from metamixer.cli import main
from metamixer.engine.files import Files
from metamixer.engine.folder import Folder
from metamixer.engine.job import Job
from metamixer.engine.shard import PREDICTIONS
from metamixer.errors import InputError
from pictures import save_small_upscaler
from plain_work import PlainWork

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'metamixer[ray]'")
engine = pytest.importorskip("metamixer.engine.ray")

NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_log_monitor": False}
HEALTH_CHECKS = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
"""Ray misses a killed node after 3 seconds instead of 15; a slow one still has 10 seconds to answer each check."""


@pytest.fixture(scope="module")
def nodes():
    """A cluster of two nodes, the second of which may go."""
    from ray.cluster_utils import Cluster

    for name, value in engine.QUIET.items():
        pytest.MonkeyPatch().setenv(name, value)
    tests = str(Path(__file__).parent)  # where Ray's processes find `plain_work`
    pytest.MonkeyPatch().setenv("PYTHONPATH", tests, prepend=os.pathsep)
    head = {**NODE, "include_dashboard": False, "_system_config": HEALTH_CHECKS}
    cluster = Cluster(initialize_head=True, connect=False, head_node_args=head)
    second = cluster.add_node(**NODE)
    ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
    yield cluster, second
    ray.shutdown()
    cluster.shutdown()


def write_inputs(path, count):
    """A Parquet file of images in bytes, one of which is none."""
    contents = []
    for i in range(count):
        file = io.BytesIO()
        Image.fromarray(np.random.RandomState(i).randint(0, 256, (8, 8, 3), np.uint8)).save(file, format="PNG")
        contents.append(file.getvalue())
    contents[7] = b"no image"
    names = [f"{i}.png" for i in range(count)]
    pandas.DataFrame({"path": names, "bytes": contents}).to_parquet(path, row_group_size=10)
    return path


@pytest.fixture
def together(tmp_path):
    """A folder in which the processes of `PlainWork` wait for each other."""
    (tmp_path / "together").mkdir()
    return str(tmp_path / "together")


def test_a_node_that_is_killed_costs_no_input_and_doubles_none(nodes, together, tmp_path):
    count = 300
    cluster, second = nodes
    killed = []

    def kill(tally, shards):
        if second.node_id in tally.machines and not killed:
            killed.append(shards - tally.shards)
            cluster.remove_node(second, allow_graceful=False)

    job = Job(PlainWork(count, together, processes=2, shards=32), Folder(str(tmp_path / "out")))
    tally = engine.run(job, actors=2, on_shard=kill)
    assert killed and killed[0] > 0, "the second node was to die with shards left"
    assert (tally.inputs, tally.failed) == (count, 1)
    results = pandas.read_parquet(tmp_path / "out" / PREDICTIONS)
    assert sorted(results.input) == sorted(f"{i}.txt" for i in range(count))
    assert results[results.error.notna()].input.tolist() == ["7.txt"]


def test_the_command_goes_on_with_a_stopped_job(nodes, tmp_path, capsys):
    """Half of the shards are done before, as if the job had been stopped then."""
    count = 60
    inputs = write_inputs(tmp_path / "inputs.parquet", count)
    source = save_small_upscaler(tmp_path / "up.safetensors")
    out = tmp_path / "out"
    command = ["upscale", str(inputs), "--checkpoint", str(source), "--out", str(out), "--engine", "ray:1"]
    load = {"source": str(source), "model": None, "scale": None, "memory": 256}
    load |= {"device": "cpu", "backend": None, "precision": "fp32"}
    job = Job(Files("super_resolution", [str(inputs)], load, {}), Folder(str(out))).begin()
    job.spread(str(inputs))
    held = job.work.prepare()
    for shard in job.shards()[::2]:
        job.work_through(shard, held)
    before = {path: path.stat().st_mtime_ns for path in (out / PREDICTIONS).rglob("*.parquet")}
    assert before
    assert main(command) == 0
    printed = capsys.readouterr()
    assert f"{count} inputs, 1 with an error" in printed.out
    assert "7.png: not a readable image" in printed.err
    assert sorted(pandas.read_parquet(out / PREDICTIONS).input) == sorted(f"{inputs}:{i}/{i}.png" for i in range(count))
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_what_no_process_can_load_is_one_line(nodes, together, tmp_path):
    work = PlainWork(3, together, missing="none.ckpt")
    with pytest.raises(InputError, match=r"^none\.ckpt: no such file$"):
        engine.run(Job(work, Folder(str(tmp_path / "out"))), actors=1)


@pytest.mark.parametrize(
    ("address", "said"),
    [("", "Ray can't start (late)"), ("a:1", "RAY_ADDRESS 'a:1', expected the address of a Ray cluster (late)")],
)
def test_a_cluster_that_does_not_answer_is_one_line(address, said, monkeypatch):
    def fail(**options):
        raise Exception("late\nsecond line")  # as Ray does

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"), engine.cluster():
        pass


def test_sigterm_stops_a_job_like_an_interrupt():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), engine.stopped_by_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def answers_in_this_process(items, work, fn_kwargs=None, fn_constructor_args=(), **how):
    """What Ray's processes answer, after all that they are sent was pickled."""
    sent = ray.cloudpickle.dumps((work, fn_kwargs or {}, fn_constructor_args))
    work, options, arguments = ray.cloudpickle.loads(sent)
    call = work(*arguments) if isinstance(work, type) else partial(work, **options)
    for item in items:
        yield json.loads(call({"item": [item]})["answer"][0])


def test_the_command_forecasts_a_long_table(nodes, tmp_path, monkeypatch, capsys):
    """Without Ray's own processes, which start in 20 seconds; images are predicted in them above."""
    monkeypatch.setattr(engine, "answers", answers_in_this_process)
    days = pandas.date_range("2024-01-01", periods=20)
    table = pandas.DataFrame({"unique_id": np.repeat(range(30), 20), "ds": [*days] * 30, "y": range(600)})
    table.to_parquet(tmp_path / "table.parquet")
    out = tmp_path / "out"
    command = ["forecast", str(tmp_path / "table.parquet"), "--horizon", "2", "--levels", "80", "--out", str(out)]
    assert main([*command, "--engine", "ray:1"]) == 0
    assert "30 series, 0 with an error" in capsys.readouterr().out
    forecast = pandas.read_parquet(out / PREDICTIONS)
    assert forecast.groupby("unique_id").size().tolist() == [2] * 30
    assert forecast.unique_id.dtype == "int64"
