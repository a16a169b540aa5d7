"""Files of a few kilobytes that ask for gigabytes, and files that stopped a decoder."""

import gzip
import json
import logging
import multiprocessing
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metamixer.data.detection.coco_faults import packed_counts, usable_polygons
from metamixer.data.detection.coco_json import decode_mask, encode_mask, read_coco
from metamixer.data.images.lossless import read_picture
from metamixer.data.images.reading import read_image
from metamixer.data.points import las
from metamixer.data.points.clouds import read_cloud
from metamixer.data.segmentation.label_maps import read_classes
from metamixer.data.series.tables import read_table
from metamixer.errors import InputError, printable
from metamixer.system import worker as worker_module
from metamixer.system.yaml_files import read_yaml


def laz(tmp_path, name="cloud.laz", points=40):
    laspy = pytest.importorskip("laspy")
    file = laspy.create(point_format=7, file_version="1.4")
    file.x = file.y = file.z = np.linspace(0, 1, points)
    file.write(tmp_path / name)
    return tmp_path / name


def test_a_header_of_more_points_than_the_file_can_hold_is_refused(tmp_path):
    path = laz(tmp_path)
    content = bytearray(path.read_bytes())
    content[247:255] = struct.pack("<Q", 10**9)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cloud\.laz: 1000000000 points .* expected fewer"):
        read_cloud(path)


DECODERS = ("import os; os.abort()", "import time; time.sleep(1000)", "sum(iter(int, 1))", "raise BaseException")


@pytest.mark.parametrize("hostile", DECODERS)
def test_a_decoder_that_aborts_hangs_or_panics_costs_one_file(hostile, tmp_path, monkeypatch):
    good, bad = laz(tmp_path), laz(tmp_path, "bad.laz")
    worker = tmp_path / "worker.py"
    source = Path(las.las_worker.__file__).read_text()
    source = source.replace('"""A file, all of whose points are there."""', f"if 'bad' in path: {hostile}")
    worker.write_text(source)
    monkeypatch.setattr(las, "SECONDS", 2)
    monkeypatch.setattr(worker_module, "PATIENCE", 3)
    monkeypatch.setattr(las, "WORKER", las.Worker(str(worker)))
    with pytest.raises(InputError, match=r"bad\.laz: not a readable LAS file"):
        read_cloud(bad)
    monkeypatch.setattr(las, "SECONDS", 300)
    assert len(read_cloud(good)) == 40
    las.WORKER.end()


def test_one_process_decodes_a_batch(tmp_path):
    path = laz(tmp_path)
    assert len(read_cloud(path)) == 40
    first = las.WORKER.process
    read_cloud(path)
    assert las.WORKER.process is first


def read_in_fork(path, answers):
    answers.put((len(read_cloud(path)), las.WORKER.process.pid))
    las.WORKER.end()


def test_forks_decode_with_processes_of_their_own(tmp_path):
    """As workers of a data loader do, also if a thread was reading when they were forked."""
    path = laz(tmp_path)
    read_cloud(path)
    own = las.WORKER.process
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    readers = [fork.Process(target=read_in_fork, args=(path, answers), daemon=True) for _ in range(2)]
    with las.WORKER.lock:
        for reader in readers:
            reader.start()
    for reader in readers:
        reader.join(60)
        reader.kill()
    assert [reader.exitcode for reader in readers] == [0, 0]
    (points, first), (others, second) = answers.get(), answers.get()
    assert points == others == 40 and len({own.pid, first, second}) == 3
    assert las.WORKER.process is own and own.poll() is None
    assert len(read_cloud(path)) == 40


def npy(header):
    text = header.encode() + b" " * (117 - len(header)) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 3), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-5, 3), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1, 3), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 3), ",
        "  {'descr'\n  'x",
    ],
)
def test_an_array_is_as_large_as_its_file(header, tmp_path):
    (tmp_path / "a.npy").write_bytes(npy(header) + bytes(100))
    with pytest.raises(InputError, match=r"a\.npy: not a readable array"):
        read_cloud(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("coord.npy", npy(header) + bytes(100))
    with pytest.raises(InputError, match=r"a\.npz: not a readable NPZ file \(coord"):
        read_cloud(tmp_path / "a.npz")


def test_an_archive_of_zeros_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("c.npy", "w") as file:
        for _ in range(300):
            file.write(bytes(2**20))
    assert (tmp_path / "a.npz").stat().st_size < 2**20
    with pytest.raises(InputError, match=r"a\.npz: .* arrays of \d+ bytes, expected at most"):
        read_cloud(tmp_path / "a.npz")


def test_a_packed_table_is_unpacked_up_to_a_limit(tmp_path):
    with gzip.open(tmp_path / "a.csv.gz", "w") as file:
        file.write(b"date,a\n")
        for _ in range(70):
            file.write(b"1,1\n" * 2**18)
    with pytest.raises(InputError, match=r"a\.csv\.gz: more than \d+ bytes when unpacked"):
        read_table(tmp_path / "a.csv.gz")


def test_a_polygon_of_a_thousand_million_pixels_is_no_polygon():
    assert usable_polygons([[0, 0, 1e9, 0, 1e9, 1e9]], (48, 64)) == []
    assert usable_polygons([[0, 0, 1e6, 0, 1e6, 1e6]], (48, 64)) == []
    assert usable_polygons([[0, 0, 70, 0, 70, 50]], (48, 64)) != []


def test_packed_run_lengths_are_read_as_coco_reads_them():
    pytest.importorskip("faster_coco_eval")
    for seed in range(20):
        mask = (np.random.default_rng(seed).random((37, 53)) < seed / 20).astype(np.uint8)
        packed = encode_mask(mask)
        counts = packed_counts(packed["counts"])
        assert sum(counts) == mask.size
        assert (decode_mask({"size": [37, 53], "counts": counts}, (37, 53)) == mask).all()
    assert packed_counts("zzz") is None
    assert packed_counts("P") is None


def test_nested_json_and_yaml_are_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"images":' + "[" * 100_000)
    with pytest.raises(InputError, match=r"a\.json: not readable as JSON"):
        read_coco(tmp_path / "a.json", tmp_path)
    aliases = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    recursive = "a: &a [*a]"
    for text in ("[" * 20_000, aliases, recursive, "a: !!python/object/apply:os.system [x]", "a: 1\na: {"):
        (tmp_path / "classes.yaml").write_text(text)
        with pytest.raises(InputError, match=r"classes\.yaml: "):
            read_classes("classes.yaml", tmp_path)
    (tmp_path / "classes.yaml").write_bytes(b"a: \xe9")
    with pytest.raises(InputError, match=r"classes\.yaml: byte 3 is not UTF-8"):
        read_yaml(tmp_path / "classes.yaml")


def test_predict_has_a_limit_of_pixels(tmp_path, capsys):
    from metamixer.cli import main

    Image.new("RGB", (64, 64)).save(tmp_path / "large.png")
    options = ["--model", "ffnet_nano", "--checkpoint", str(tmp_path / "none.ckpt"), "--max_pixels", "100"]
    assert main(["predict", str(tmp_path / "large.png"), *options]) == 2  # the option is known
    assert "none.ckpt: no such file" in capsys.readouterr().err


def test_a_broken_tiff_brings_no_lines_of_libtiff(tmp_path, capfd):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(
        tmp_path / "a.tif", compression="tiff_lzw"
    )
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[20:1000] = bytes(980)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.tif: not a readable image"):
        read_image(tmp_path / "a.tif", name=str(tmp_path / "a.tif"))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("read", [read_image, read_picture])
def test_a_tiff_that_holds_a_part_of_its_pixels_is_refused(read, tmp_path):
    file = tmp_path / "a.tif"
    Image.new("RGB", (32, 24)).save(file)
    read(file)
    height = struct.pack("<HHII", 257, 4, 1, 24)
    assert height in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(height, struct.pack("<HHII", 257, 4, 1, 4_000_000)))
    with pytest.raises(InputError, match="32 x 4000000 pixels, of which it holds 32 x 24"):
        read(file)


def test_pillows_logs_are_not_printed():
    """Python prints them where a program handles none; pytest does."""
    logs = logging.getLogger("PIL")
    assert any(isinstance(handler, logging.NullHandler) for handler in logs.handlers)


def test_names_steer_no_terminal():
    assert printable("a\x1b[31m\nb\x9b\u202e") == "a\\x1b[31m\\nb\\x9b\\u202e"
    assert printable("Größe 山 é") == "Größe 山 é"
    assert printable("a\nb", keep="\n") == "a\nb"


def test_a_line_feed_in_a_name_does_not_cut_a_message(tmp_path, capsys):
    from metamixer.cli import main

    assert main(["predict", f"{tmp_path}/first\nsecond.png", "--model", "ffnet_nano"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "first\\nsecond.png: no such file" in error
    assert json.dumps(error)
