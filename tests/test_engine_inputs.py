"""Inputs of an engine's jobs: folders, lists, Parquet files, archives and URLs."""

import io
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import fsspec
import numpy as np
import pandas
import pyarrow.parquet
import pytest
from PIL import Image

import metamixer
from jobs import image, run, save_images, upscaling_work
from metamixer.engine.files import Files
from metamixer.engine.folder import Folder
from metamixer.engine.job import Job
from metamixer.engine.shard import PREDICTIONS
from metamixer.engine.sources import find_sources, local_file, read_source
from metamixer.errors import InputError


@pytest.fixture
def pictures(tmp_path):
    return save_images(tmp_path / "photos")


@pytest.fixture
def upscaling(tmp_path):
    return upscaling_work(tmp_path)


def test_a_folder_that_leads_in_a_circle_is_walked_once(pictures):
    (pictures / "deeper" / "again").symlink_to(pictures)
    assert len(list(find_sources(str(pictures), [".png"]))) == 8


def encoded(picture):
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


@pytest.mark.parametrize("how", ["bytes", "hugging_face", "paths", "list", "nameless"])
def test_inputs_in_parquet_files_and_lists(upscaling, pictures, tmp_path, how):
    names = [f"{i}.png" for i in range(5)]
    contents = [encoded(image(i)) for i in range(4)] + [b"no image"]
    table = tmp_path / "table.parquet"
    if how == "bytes":
        pandas.DataFrame({"path": names, "bytes": contents}).to_parquet(table, row_group_size=2)
    elif how == "nameless":
        names = [f"{table}:{row}" for row in range(5)]
        pandas.DataFrame({"bytes": contents}).to_parquet(table, row_group_size=2)
    elif how == "hugging_face":
        rows = [{"bytes": content, "path": name} for content, name in zip(contents, names, strict=True)]
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


def test_rows_of_equal_paths_are_different_inputs(upscaling, tmp_path):
    table, paths = tmp_path / "table.parquet", ["a.png", "b.png", "b.png", "/c/a.png"]
    rows = [{"bytes": encoded(image(i)), "path": path} for i, path in enumerate(paths)]
    pandas.DataFrame({"image": rows}).to_parquet(table, row_group_size=2)
    results, tally = run(replace(upscaling, inputs=[str(table)]), tmp_path / "out")
    assert tally == {"inputs": 4, "failed": 0}
    assert sorted(results.input) == sorted(["a.png", f"{table}:1/b.png", f"{table}:2/b.png", "/c/a.png"])
    assert run(replace(upscaling, inputs=[str(table)]), tmp_path / "out")[1] == tally


def test_max_pixels_holds_also_where_pillow_only_warns(upscaling, pictures, tmp_path):
    limit = 24 * 24 * 2 // 3  # Pillow's own error comes at twice its limit
    results, _ = run(replace(upscaling, inputs=[str(pictures / "0.png")], max_pixels=limit), tmp_path / "out")
    assert results.error.item() == f"more than {limit} pixels, expected fewer, or a larger --max_pixels"


def test_a_finished_row_group_is_not_read_again(tmp_path):
    table = tmp_path / "table.parquet"
    pandas.DataFrame({"path": ["a", "b"], "bytes": [b"1", b"2"]}).to_parquet(table)
    [source] = find_sources(str(table), [".png"])
    assert [(given.name, given.content) for given in read_source(source, {"a"})] == [("b", b"2")]
    assert list(read_source(source, {"a", "b"})) == []


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
