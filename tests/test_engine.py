"""Jobs of very many inputs, without the engine that runs them: what is found, what is written, how they go on."""

import io
import json
import re
import shlex
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from inspect import signature
from pathlib import Path
from threading import Thread

import fsspec
import numpy as np
import pandas
import pyarrow.parquet
import pytest
import torch
import yaml
from PIL import Image

import metamixer
from jobs import run
from metamixer.checkpoints.ours import network_info, save_network
from metamixer.cli import main
from metamixer.data import DetectionPreprocessing, PointPreprocessing, Preprocessing, SegmentationPreprocessing
from metamixer.engine.files import Files
from metamixer.engine.folder import Folder
from metamixer.engine.job import DESCRIPTION, Job
from metamixer.engine.shard import MOST_ATTEMPTS, PREDICTIONS, Shard
from metamixer.engine.sources import find_sources, local_file, read_source
from metamixer.errors import InputError
from pictures import save_small_restorer, save_small_upscaler
from random_statistics import randomize

NETWORKS = {
    "classification": ("ffnet_nano", {"num_classes": 3}, Preprocessing(size=32)),
    "detection": (
        "cascade_mask_rcnn_ffnet_nano",
        {"num_classes": 3, "channels": 16, "hidden_dim": 32},
        DetectionPreprocessing(short_side=64, long_side=96),
    ),
    "segmentation": (
        "ffnet_head_ffnet_nano",
        {"num_classes": 3, "head_args": {"dim": 16, "depth": 1, "out_dim": 32}},
        SegmentationPreprocessing(window=64, stride=64),
    ),
    "points": ("ffnet_3d_nano", {"in_chans": 6, "num_classes": 3}, PointPreprocessing(0.1, ("position", "colour"))),
}
"""By task: a small network with its arguments and preprocessing."""


def image(i=0, side=24):
    return Image.fromarray(np.random.RandomState(i).randint(0, 256, (side, side, 3), np.uint8))


def encoded(picture):
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


@pytest.fixture
def pictures(tmp_path):
    """Seven images in two folders, one more that is none, and a text file that is nobody's business."""
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    for i in range(7):
        image(i).save(folder / ("deeper" if i % 2 else ".") / f"{i}.png")
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "notes.md").write_text("nothing")
    return folder


@pytest.fixture
def upscaling(tmp_path):
    """Work with a small upscaler, without inputs."""
    return Files(
        "super_resolution", [], {"source": str(save_small_upscaler(tmp_path / "up.safetensors"))}, {}, shards=2
    )


def test_every_input_is_a_row_and_a_broken_one_a_row_with_its_error(upscaling, pictures, tmp_path):
    results, tally = run(replace(upscaling, inputs=[str(pictures)], pictures=True), tmp_path / "out")
    assert tally == {"inputs": 8, "failed": 1}
    assert sorted(results.input) == sorted(map(str, pictures.rglob("*.png")))
    broken = results[results.error.notna()]
    assert broken.input.tolist() == [str(pictures / "broken.png")]
    assert broken.error.item().startswith("not a readable image")
    good = results[results.error.isna()]
    for name, content, picture in zip(good.input, good.image, good.picture, strict=True):
        expected = metamixer.load(upscaling.load["source"])(Image.open(name))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), np.asarray(expected))
        assert Image.open(tmp_path / "out" / picture).size == (48, 48)


def test_restored_images_come_with_what_was_found(pictures, tmp_path):
    restorer = str(save_small_restorer(tmp_path / "restore.safetensors"))
    image(9, side=48).save(pictures / "large.png")
    results, tally = run(
        Files("restoration", [str(pictures)], {"source": restorer, "strength": 0.5}, {}, shards=1), tmp_path / "out"
    )
    assert tally == {"inputs": 9, "failed": 1}
    good = results[results.error.isna()]
    for name, content, strength in zip(good.input, good.image, good.strength, strict=True):
        expected = metamixer.load(restorer, strength=0.5)(Image.open(name))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), np.asarray(expected))
        assert strength == 0.5
    assert good.noise[good.input.str.endswith("large.png")].item() > 10  # the others are too small for an estimate
    assert good.jpeg_quality.isna().all()


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


def test_a_folder_that_leads_in_a_circle_is_walked_once(pictures):
    (pictures / "deeper" / "again").symlink_to(pictures)
    assert len(list(find_sources(str(pictures), [".png"]))) == 8


def test_a_job_keeps_its_number_of_shards(upscaling, pictures, tmp_path):
    work = replace(upscaling, inputs=[str(pictures)])
    run(work, tmp_path / "out")
    assert Job(replace(work, shards=50), Folder(str(tmp_path / "out"))).begin().work.shards == 2


@pytest.mark.parametrize("how", ["bytes", "hugging_face", "paths", "list", "nameless"])
def test_inputs_in_parquet_files_and_lists(upscaling, pictures, tmp_path, how):
    contents = [encoded(image(i)) for i in range(4)] + [b"no image"]
    table, paths = tmp_path / "table.parquet", ["a.png", "b.png", "b.png", "/c/a.png", "e.png"]
    names = [f"{table}:{row}/{path}" for row, path in enumerate(paths)]
    if how == "bytes":
        pandas.DataFrame({"path": paths, "bytes": contents}).to_parquet(table, row_group_size=2)
    elif how == "nameless":
        names = [f"{table}:{row}" for row in range(5)]
        pandas.DataFrame({"bytes": contents}).to_parquet(table, row_group_size=2)
    elif how == "hugging_face":
        rows = [{"bytes": content, "path": name} for content, name in zip(contents, paths, strict=True)]
        pandas.DataFrame({"image": rows, "label": 0}).to_parquet(table, row_group_size=3)
    else:
        names = [str(pictures / name) for name in ("0.png", "2.png", "4.png", "6.png", "broken.png")]
        table = tmp_path / "list.txt" if how == "list" else table
        if how == "list":
            table.write_text("\n".join([*names, "", names[0]]))
        else:
            pandas.DataFrame({"path": [*names, names[0]]}).to_parquet(table)
    results, tally = run(replace(upscaling, inputs=[str(table)]), tmp_path / "out")
    assert tally == {"inputs": 5, "failed": 1}
    assert sorted(results.input) == sorted(names)
    first = Image.open(io.BytesIO(results[results.input == names[0]].image.item()))
    assert first.size == (48, 48)
    assert run(replace(upscaling, inputs=[str(table)]), tmp_path / "out")[1] == tally


def test_max_pixels_holds_also_where_pillow_only_warns(upscaling, pictures, tmp_path):
    limit = 24 * 24 * 2 // 3  # Pillow's own error comes at twice its limit
    results, _ = run(replace(upscaling, inputs=[str(pictures / "0.png")], max_pixels=limit), tmp_path / "out")
    assert results.error.item() == f"more than {limit} pixels, expected fewer, or a larger --max_pixels"


def test_a_finished_row_group_is_not_read_again(tmp_path):
    table = tmp_path / "table.parquet"
    pandas.DataFrame({"path": ["a", "b"], "bytes": [b"1", b"2"]}).to_parquet(table)
    [source] = find_sources(str(table), [".png"])
    assert [(given.name, given.content) for given in read_source(source, {f"{table}:0/a"})] == [(f"{table}:1/b", b"2")]
    assert list(read_source(source, {f"{table}:0/a", f"{table}:1/b"})) == []


def test_a_folder_with_a_broken_parquet_file_has_a_row_for_it(upscaling, pictures, tmp_path):
    (pictures / "table.parquet").write_bytes(b"no table")
    results, tally = run(replace(upscaling, inputs=[str(pictures)]), tmp_path / "out")
    assert tally == {"inputs": 9, "failed": 2}
    assert results[results.input.str.contains("table")].error.item().startswith(f"{pictures}/table.parquet: not a read")


def test_a_table_with_its_column_twice_is_refused(tmp_path):
    columns = [pyarrow.array([b"a"]), pyarrow.array([b"b"])]
    table = pyarrow.Table.from_arrays(columns, names=["image", "image"])
    pyarrow.parquet.write_table(table, tmp_path / "twice.parquet")
    with pytest.raises(InputError, match=r"twice\.parquet: 2 columns 'image', expected one"):
        list(find_sources(str(tmp_path / "twice.parquet"), [".png"]))


def test_object_stores_and_archives_are_read_by_their_urls(pictures, tmp_path):
    memory = fsspec.filesystem("memory")
    for path in pictures.rglob("*.png"):
        memory.pipe(f"/photos/{path.relative_to(pictures)}", path.read_bytes())
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(pictures / "0.png", "a/0.png")
    cases = {
        "memory://photos": "memory://photos/deeper/1.png",
        f"file://{pictures}": f"file://{pictures}/deeper/1.png",
        f"zip://a::file://{tmp_path}/photos.zip": f"zip://a/0.png::file://{tmp_path}/photos.zip",
    }
    for given, expected in cases.items():
        names = [source.name for source in find_sources(given, [".png"])]
        assert len(names) == (1 if "zip" in given else 8)
        assert expected in [name.replace("memory:///", "memory://") for name in names]
        for name in names:
            [found] = read_source(next(find_sources(name, [".png"])))
            with local_file(found) as path:
                assert (
                    path.read_bytes()
                    == (pictures / name.split("::")[0].split("/photos/")[-1].replace("zip://a/", "")).read_bytes()
                )


@pytest.fixture
def website(pictures):
    """The address of a web server that lists and serves the pictures."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=pictures))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *about):
        pass


def test_a_job_reads_from_the_web_and_writes_to_an_object_store(upscaling, pictures, website, tmp_path):
    """Started again, it finds there what is done."""
    pytest.importorskip("aiohttp", reason="fsspec's HTTP needs aiohttp")
    (tmp_path / "list.txt").write_text(f"{website}/0.png\n{website}/none.png\n")
    work = replace(upscaling, inputs=[f"{website}/", str(tmp_path / "list.txt")])
    job = Job(work, Folder("memory://bucket/job")).begin()
    for unit in work.units():
        job.spread(unit)
    held = work.prepare()
    answers = [job.work_through(shard, held) for shard in job.shards()]
    assert sum(answer["inputs"] for answer in answers) == 9
    assert [job.work_through(shard, None) for shard in job.shards()] == answers, "nothing is left to predict"
    rows = {}
    for name in job.folder.names(PREDICTIONS):
        with job.folder.reading(name) as file:
            rows |= {row["input"]: row for row in pyarrow.parquet.read_table(file).to_pylist()}
    assert sorted(rows) == sorted(
        [f"{website}/{p.relative_to(pictures)}" for p in pictures.rglob("*.png")] + [f"{website}/none.png"]
    )
    assert rows[f"{website}/none.png"]["error"] == "no such file"
    assert rows[f"{website}/broken.png"]["error"].startswith("not a readable image")
    expected = metamixer.load(upscaling.load["source"])(image(3))
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(rows[f"{website}/deeper/3.png"]["image"]))), np.asarray(expected)
    )


def test_lists_name_files_from_where_the_command_is_called(upscaling, pictures, tmp_path, monkeypatch):
    """In another process's folder too; a folder in a list is no input."""
    (pictures / "list.txt").write_text("0.png\n\ndeeper/1.png\ndeeper\n")
    monkeypatch.chdir(pictures)
    work = Files("super_resolution", ["list.txt"], upscaling.load, {}, shards=1)
    [unit] = work.units()
    monkeypatch.chdir(tmp_path)
    job = Job(work, Folder(str(tmp_path / "out"))).begin()
    assert job.spread(unit) == 3
    job.work_through(0, work.prepare())
    results = pandas.read_parquet(tmp_path / "out" / PREDICTIONS)
    errors = dict(zip(results.input, results.error.fillna(""), strict=True))
    named = {str(pictures / name): "" for name in ("0.png", "deeper/1.png")}
    assert errors == {**named, str(pictures / "deeper"): "a folder, expected a file"}


def test_results_go_into_an_object_store():
    folder = Folder("memory://results/job")
    folder.write("a/b.txt", b"text")
    assert folder.names("a") == ["a/b.txt"]
    with folder.reading("a/b.txt") as file:
        assert file.read() == b"text"
    folder.remove("a")
    assert not folder.exists("a/b.txt")


def test_a_file_that_is_being_written_is_not_among_the_names(tmp_path):
    """A killed node leaves one, which the next attempt at its shard once read as a result."""
    folder = Folder(str(tmp_path))
    folder.write("predictions/00003/a.parquet", b"whole")
    with folder.writing("predictions/00003/b.parquet"):
        assert len(list((tmp_path / "predictions/00003").iterdir())) == 2
        assert folder.names("predictions") == ["predictions/00003/a.parquet"]
    assert folder.names("predictions") == ["predictions/00003/a.parquet", "predictions/00003/b.parquet"]


@pytest.mark.parametrize("url", ["memory://unfinished", "{tmp_path}"])
def test_an_error_leaves_a_file_as_it_was(url, tmp_path):
    folder = Folder(url.format(tmp_path=tmp_path))
    folder.write("a/old.txt", b"old")
    for name in ("a/old.txt", "a/new.txt"):
        with pytest.raises(RuntimeError), folder.writing(name) as file:
            file.write(b"half")
            raise RuntimeError
    assert folder.names("a") == ["a/old.txt"]
    with folder.reading("a/old.txt") as file:
        assert file.read() == b"old"


def test_what_is_not_there_is_said_at_once(upscaling, tmp_path):
    (tmp_path / "empty").mkdir()
    pandas.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    for given, message in {
        tmp_path / "none.png": "none.png: no such file or folder",
        tmp_path / "empty": "empty: nothing to predict, expected files of .jpg",
        tmp_path / "other.parquet": "other.parquet: columns a, expected one of",
        "nowhere://bucket/photos": "nowhere://bucket/photos: not a path or URL that can be read",
    }.items():
        with pytest.raises(InputError, match=message):
            replace(upscaling, inputs=[str(given)]).units()


@pytest.mark.parametrize("task", NETWORKS)
def test_rows_of_every_task(task, tmp_path):
    torch.manual_seed(0)
    model, arguments, preprocessing = NETWORKS[task]
    network = randomize(metamixer.create_model(model, **arguments))
    about = {"classes": ["a", "b", "c"], "preprocessing": preprocessing.as_dict()}
    save_network(network, network_info(model, arguments, task=task, **about), tmp_path / "network.safetensors")
    if task == "points":
        random = np.random.RandomState(0)
        cloud = {"coord": random.rand(200, 3), "color": 255 * random.rand(200, 3), "normal": random.rand(200, 3)}
        (tmp_path / "room").mkdir()
        for name, values in cloud.items():
            np.save(tmp_path / "room" / f"{name}.npy", values.astype(np.float32))
        given = str(tmp_path / "room")
    else:
        image(side=64).save(tmp_path / "0.png")
        given = str(tmp_path / "0.png")
    options = {
        "classification": {"top": 2},
        "detection": {"score_threshold": 0.0},
        "segmentation": {"window": None, "stride": None, "grey_images": False},
        "points": {"votes": 1, "fragments": False},
    }[task]
    work = Files(task, [given], {"source": str(tmp_path / "network.safetensors")}, options, pictures=True)
    results, tally = run(work, tmp_path / "out")
    assert tally == {"inputs": 1, "failed": 0}, results.error.tolist()
    row, predictor = results.iloc[0], work.prepare()
    if task == "classification":
        assert [(each["name"], each["probability"]) for each in row.classes] == predictor(given).top(2)
    elif task == "detection":
        assert [each["score"] for each in row.objects] == [
            each["score"] for each in predictor(given, score_threshold=0.0).entries()
        ]
    elif task == "segmentation":
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(row.labels))), predictor(given, grey_images=False))
    else:
        assert np.array_equal(row.labels, predictor(given))
    assert Image.open(tmp_path / "out" / row.picture).size[0] > 0


def test_the_kuberay_file_calls_a_command_with_options_that_exist():
    page = (Path(__file__).parent.parent / "docs" / "scale.md").read_text()
    [job] = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "RayJob" in text]
    program, command, *options = shlex.split(job["spec"]["entrypoint"])
    known = signature(import_module(f"metamixer.commands.{command}").segment).parameters
    assert program == "metamixer" and command == "segment"
    assert {option[2:] for option in options if option.startswith("--")} <= set(known)
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    images = [group["template"]["spec"]["containers"][0]["image"] for group in groups]
    assert len(set(images)) == 1


def test_parts_hold_typed_columns(upscaling, pictures, tmp_path):
    work = replace(upscaling, inputs=[str(pictures)])
    run(work, tmp_path / "out")
    dataset = pyarrow.parquet.read_table(tmp_path / "out" / PREDICTIONS)
    assert dataset.schema.names == work.schema.names
    assert json.loads((tmp_path / "out" / DESCRIPTION).read_text())["job"]["task"] == "super_resolution"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "dask"], "engine 'dask', expected local, ray, or ray:ACTORS such as ray:4"),
        (["--engine", "local:2"], "engine 'local:2', expected local, ray, or ray:ACTORS such as ray:4"),
        (["--engine", "ray:0"], "engine 'ray:0', expected local, ray, or ray:ACTORS such as ray:4"),
        (["--engine", "ray:" + "9" * 5000], "expected local, ray, or ray:ACTORS such as ray:4"),
        (["--engine", "ray", "--compare"], "compare True with --engine ray, expected it without --engine"),
    ],
)
def test_an_engine_that_is_not_there_is_refused(options, message, capsys, tmp_path):
    assert main(["upscale", str(tmp_path), "--out", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
