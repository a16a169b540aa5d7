"""How an engine's jobs go on: after a stop, after an input that ends processes, in a folder of other results."""

from dataclasses import replace

import pandas
import pytest

from jobs import image, run, save_images, upscaling_work
from metamixer.engine.files import Files
from metamixer.engine.folder import Folder
from metamixer.engine.job import Job
from metamixer.engine.shard import MOST_ATTEMPTS, PREDICTIONS, Shard
from metamixer.errors import InputError


@pytest.fixture
def pictures(tmp_path):
    return save_images(tmp_path / "photos")


@pytest.fixture
def upscaling(tmp_path):
    return upscaling_work(tmp_path)


def test_a_stopped_job_goes_on_behind_its_last_part(upscaling, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("metamixer.engine.shard.PART_INPUTS", 1)
    monkeypatch.setattr("metamixer.engine.files.BATCH", 1)
    work, tables = replace(upscaling, inputs=[str(pictures)], shards=1), []
    predicted, written = Files._rows, Shard._write_part

    def counted(self, predictor, batch, shard):
        tables.append(batch[0].name)
        return predicted(self, predictor, batch, shard)

    def stopped(self, rows):
        if len(tables) == 4:
            raise KeyboardInterrupt
        return written(self, rows)

    monkeypatch.setattr(Files, "_rows", counted)
    monkeypatch.setattr(Shard, "_write_part", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(work, tmp_path / "out")
    assert len(pandas.read_parquet(tmp_path / "out" / PREDICTIONS)) == 3
    monkeypatch.setattr(Shard, "_write_part", written)
    image(9).save(pictures / "new.png")
    results, tally = run(work, tmp_path / "out")
    assert tally == {"inputs": 9, "failed": 1}
    assert len(tables) == 4 + 6  # the one that was lost with its part, four others, the new one
    assert results.input.is_unique
    assert run(work, tmp_path / "out")[1] == tally
    assert len(tables) == 10


def test_a_job_keeps_its_number_of_shards(upscaling, pictures, tmp_path):
    work = replace(upscaling, inputs=[str(pictures)])
    run(work, tmp_path / "out")
    assert Job(replace(work, shards=50), Folder(str(tmp_path / "out"))).begin().work.shards == 2


def test_an_input_that_ends_processes_is_a_row_after_a_few(upscaling, pictures, tmp_path, monkeypatch):
    work = replace(upscaling, inputs=[str(pictures)], shards=1)
    job = Job(work, Folder(str(tmp_path / "out"))).begin()
    job.spread(str(pictures))
    predicted, died = Files._rows, []

    def deadly(self, predictor, batch, shard):
        rows = predicted(self, predictor, batch, shard)
        if any(given.name.endswith("4.png") for given in batch):
            died.append(len(batch))
            raise KeyboardInterrupt  # as if the process had ended
        return rows

    monkeypatch.setattr(Files, "_rows", deadly)
    held = work.prepare()
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            job.work_through(0, held)
    answer = job.work_through(0, held)
    assert died == [8, 8, 1, 1]
    assert (answer["inputs"], answer["failed"]) == (8, 2)
    results = pandas.read_parquet(tmp_path / "out" / PREDICTIONS)
    assert results.input.is_unique
    assert results[results.input.str.endswith("4.png")].error.item() == "ended the process that read it"
    assert not (tmp_path / "out" / "attempts" / "00000").exists()


def test_a_shard_that_ends_every_process_is_given_up_in_one_line(upscaling, pictures, tmp_path, monkeypatch):
    job = Job(replace(upscaling, inputs=[str(pictures)], shards=1), Folder(str(tmp_path / "out"))).begin()
    job.spread(str(pictures))

    def deadly(self, predictor, batch, shard):
        raise KeyboardInterrupt  # as if the process had ended

    monkeypatch.setattr(Files, "_rows", deadly)
    for _ in range(MOST_ATTEMPTS):
        with pytest.raises(KeyboardInterrupt):
            job.work_through(0, None)
    with pytest.raises(InputError, match=r"out: 10 processes ended at shard 0, expected fewer than 10; the same"):
        job.work_through(0, None)


def test_results_of_another_job_are_refused_or_replaced(upscaling, pictures, tmp_path):
    work = replace(upscaling, inputs=[str(pictures / "0.png")])
    run(work, tmp_path / "out")
    other = replace(work, load={**work.load, "memory": 100})
    with pytest.raises(
        InputError, match="results of a job with memory None, not 100, expected another folder, or --ov"
    ):
        run(other, tmp_path / "out")
    assert len(run(replace(other, inputs=[str(pictures / "2.png")]), tmp_path / "out", overwrite=True)[0]) == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_files_is_left_alone(upscaling, pictures, tmp_path, overwrite):
    (tmp_path / "out" / "inputs").mkdir(parents=True)
    (tmp_path / "out" / "inputs" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="out: holds 'inputs' of no job, expected another folder"):
        run(replace(upscaling, inputs=[str(pictures)]), tmp_path / "out", overwrite=overwrite)
    (tmp_path / "out" / "job.json").write_text("[]")
    with pytest.raises(InputError, match=r"out: job.json of no job, expected another folder"):
        run(replace(upscaling, inputs=[str(pictures)]), tmp_path / "out", overwrite=overwrite)
    assert (tmp_path / "out" / "inputs" / "mine.txt").read_text() == "mine"
