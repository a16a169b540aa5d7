"""What fuzzing found: each of these files was once a traceback, a crash or a gigabyte."""

import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet
from torch import nn

from metamixer.data.images.deep_png import PNG_SIGNATURE, chunk, decode_deep_png
from metamixer.data.images.outputs import ABOUT, CROPS, OutputCache
from metamixer.data.images.shards import ShardReader, sample_places
from metamixer.data.points.clouds import read_cloud
from metamixer.deployment.description import Description
from metamixer.deployment.isolated import ForeignFile, IsolatedRuntime
from metamixer.deployment.program import Program
from metamixer.deployment.runtimes import torch_program
from metamixer.engine.files import Files
from metamixer.engine.folder import Folder
from metamixer.engine.job import Job
from metamixer.engine.series import read_long
from metamixer.engine.shard import Shard
from metamixer.engine.sources import find_sources, read_source
from metamixer.errors import InputError
from metamixer.system.weight_files import read_published
from metamixer.system.yaml_files import read_yaml
from metamixer.tasks.confusion import read_confusion
from metamixer.training.own_data.kinds import understand
from metamixer.training.run_sheet import read_metrics


def test_an_array_of_three_columns_is_coordinates(tmp_path):
    points = np.random.default_rng(0).random((5, 3))
    np.save(tmp_path / "cloud.npy", points)
    cloud = read_cloud(tmp_path / "cloud.npy")
    assert np.array_equal(cloud.coordinates, points)
    assert cloud.intensity is None and cloud.colours is None


TENSORS = {
    "repeated": torch.zeros(1).expand(10**10),
    "sparse": torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1), (2**40,)),
    "quantized": torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.quint8),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_that_are_not_in_the_file_are_refused(kind, tmp_path):
    torch.save({"params": {"a": TENSORS[kind]}}, tmp_path / "odd.pt")
    with pytest.raises(InputError, match=r"odd\.pt: contains a tensor of .*: not loaded"):
        read_published(tmp_path / "odd.pt")


def test_a_compressed_checkpoint_is_refused_before_pytorch_unpacks_it(tmp_path):
    """Also inside an archive, whose own compression is allowed."""
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in plain.infolist():
            bomb.writestr(entry.filename, plain.read(entry))
    with zipfile.ZipFile(tmp_path / "outer.zip", "w", zipfile.ZIP_DEFLATED) as outer:
        outer.write(tmp_path / "bomb.pth", "weights.pth")
    for name in ("bomb.pth", "outer.zip"):
        with pytest.raises(InputError, match=rf"{name}: 4,000,\d+ bytes .*, expected no compression: not loaded"):
            read_published(tmp_path / name)


def test_a_small_tensor_may_repeat_what_the_file_holds_once(tmp_path):
    torch.save({"a": torch.ones(1).expand(2, 3)}, tmp_path / "small.pt")
    assert read_published(tmp_path / "small.pt")["a"].sum() == 6


@pytest.mark.parametrize("content", [{"params": 3.0}, {1: torch.zeros(1)}, {"state_dict": []}, {}])
def test_other_checkpoints_are_named(content, tmp_path):
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(InputError, match=r"odd\.pt: no state dict found"):
        read_published(tmp_path / "odd.pt")


ANSWERS = {
    "crash": "import os; os.abort()",
    "error": "raise ValueError('layer 3')",
    "memory": "bytearray(2**34)",
    "good": "return {'shape': about['shape']}, parts",
}


@pytest.mark.parametrize(
    ("what", "message"), [("crash", "crashed"), ("error", "layer 3"), ("memory", "MemoryError"), ("good", "")]
)
def test_a_library_that_crashes_costs_one_file(what, message, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"def answer(about, parts):\n    print('noise')\n    {ANSWERS[what]}\n")
    file = ForeignFile(tmp_path / "net.xml", str(script), "OpenVINO 1", size=1000)
    runtime = IsolatedRuntime(file, Description("fp32", (None, 2)))
    x = torch.rand(3, 2)
    if what == "good":
        assert torch.equal(runtime(x), x)
    else:
        with pytest.raises(InputError, match=rf"net\.xml: OpenVINO 1 can't run it \(.*{message}"):
            runtime(x)
    process = file.worker.process
    del file, runtime
    assert process is None or process.poll() is not None


class Padded(nn.Module):
    def forward(self, x):
        return nn.functional.pad(x, (0, 50_000, 0, 50_000)).amax(dim=(2, 3))


class Chosen(nn.Module):
    def forward(self, x):
        return x[:, :, 1:2, 1:2].flatten(1)


def test_a_program_that_makes_huge_tensors_is_not_run(tmp_path):
    torch_program.write(Program(Chosen().eval(), torch.rand(2, 3, 8, 8), Description("fp32")), tmp_path / "good.pt2")
    good = torch_program.read(tmp_path / "good.pt2")
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(good(x), x[:, :, 1, 1])
    exported = torch.export.export(Padded().eval(), (torch.zeros(1, 3, 8, 8),))
    exported.example_inputs = None
    text = Description("fp32", (1, 3, 8, 8)).to_json()
    torch.export.save(exported, tmp_path / "big.pt2", extra_files={"metamixer": text})
    with pytest.raises(InputError, match=r"big\.pt2: .*makes a tensor of shape \[1, 3, 50008, 50008\]"):
        torch_program.read(tmp_path / "big.pt2")(x[:1])


@pytest.mark.parametrize(
    "text", ["{", "[" * 100_000, "[]", '{"shards": 1e300, "job": {}}', '{"shards": "x", "job": 3}']
)
def test_a_jobs_description_is_judged(text, tmp_path):
    (tmp_path / "predictions").mkdir()
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(InputError, match=r"job\.json of no job"):
        Job(Files("classification", ["a"], {}, {}), Folder(str(tmp_path))).begin()


@pytest.mark.parametrize("part", ["predictions/00000/part-0.parquet", "inputs/00000/0.parquet"])
def test_a_jobs_parts_are_judged(part, tmp_path):
    (tmp_path / part).parent.mkdir(parents=True)
    (tmp_path / part).write_bytes(b"PAR1 but no table")
    with pytest.raises(InputError, match=f"{part}: not a readable part of the job"):
        list(Shard.begin(Folder(str(tmp_path)), 0, "input").inputs())


HOLDER = """
import sys, time
from pathlib import Path
from metamixer.system.locks import held
with held(Path(sys.argv[1]), use=("works", "job")):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_folder_belongs_to_one_job(tmp_path):
    """Another process holds it; killed, it doesn't block."""
    job = Job(Files("classification", ["a"], {}, {}), Folder(str(tmp_path)))
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=rf"out {tmp_path}: process {holder.pid} on .* works there"), job.alone():
            pass
        holder.kill()
    with job.alone():
        pass


def test_a_list_of_inputs_is_text(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"a.png\n\x8a\xff")
    with pytest.raises(InputError, match=r"list\.txt: not UTF-8"):
        list(find_sources(str(tmp_path / "list.txt"), (".png",)))


def npy(shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (ABOUT, b"[" * 100_000),
        (ABOUT, b"[]"),
        (CROPS, npy("(3000000000000,)")),
        (CROPS, npy("()")),
        ("output_0.npy", npy("(3000000000000, 3)")),
        ("output_0.npy", npy("()")),
        ("output_0.npy", b"PK\x05\x06" + bytes(18)),
    ],
)
def test_a_teachers_outputs_are_judged(name, content, tmp_path):
    (tmp_path / ABOUT).write_text("{}")
    np.save(tmp_path / CROPS, np.zeros((2, 4), np.float32))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: "):
        OutputCache(tmp_path, {}, np.zeros((2, 4), np.float32), [3])
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize("text", ["epoch,step,val/top1\nx,1,0.5\n", "epoch,step,val/top1\n0,1,high\n", "step,a\n1,2\n"])
def test_a_log_of_metrics_is_judged(text, tmp_path):
    log = tmp_path / "logs/version_0/metrics.csv"
    log.parent.mkdir(parents=True)
    log.write_text(text)
    with pytest.raises(InputError, match=r"metrics\.csv: not a readable log"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("text", ["", "class,a\na,x\n", "class,a,b\na,1,2\n", f"class,a\na,{10**30}\n"])
def test_a_confusion_matrix_is_judged(text, tmp_path):
    (tmp_path / "confusion.csv").write_text(text)
    with pytest.raises(InputError, match=r"confusion\.csv: "):
        read_confusion(tmp_path / "confusion.csv")


def test_a_number_too_long_to_show_is_refused(tmp_path):
    (tmp_path / "long.yaml").write_text(f"classes: 0x{'f' * 5000}")
    with pytest.raises(InputError, match=r"long\.yaml: not readable as YAML \(a number of 5002 digits"):
        read_yaml(tmp_path / "long.yaml")


def test_a_shard_with_an_odd_header_is_named(tmp_path):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("000.jpg")
        member.pax_headers = {"GNU.sparse.realsize": "x"}
        archive.addfile(member)
    (tmp_path / "shard.tar").write_bytes(file.getvalue())
    with pytest.raises(InputError, match=r"shard\.tar: not a readable shard"):
        list(sample_places(tmp_path / "shard.tar", suffixes=(".jpg",), label_suffix=".cls"))


@pytest.mark.parametrize("size", [10**6, 2**70, -1])
def test_a_member_larger_than_its_shard_is_refused(size, tmp_path):
    with tarfile.open(tmp_path / "shard.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("000.cls"))
        member = tarfile.TarInfo("000.jpg")
        member.pax_headers = {"GNU.sparse.realsize": str(size)}
        archive.addfile(member)
    with pytest.raises(InputError, match=r"shard\.tar: 000\.jpg of -?\d+ bytes, expected 0 to"):
        list(sample_places(tmp_path / "shard.tar", suffixes=(".jpg",), label_suffix=".cls"))


@pytest.mark.parametrize("image", [{"id": 1}, {"id": 1, "file_name": 3}, 7])
def test_annotations_to_train_on_are_judged(image, tmp_path):
    content = {"images": [image], "annotations": [], "categories": []}
    (tmp_path / "coco.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"coco\.json: "):
        understand(tmp_path)


class TestDeepPng:
    """Of 16 bits and with color: torchvision's decoder ends the process on damaged ones."""

    def pixels(self):
        return np.random.default_rng(0).integers(0, 2**16, (6, 9, 3), dtype=np.uint16)

    def write(self, path, *, height=6, rows=None, filter_type=0, interlaced=0):
        pixels = self.pixels().astype(">u2").reshape(6, -1).view(np.uint8)
        data = np.hstack([np.full((6, 1), filter_type, np.uint8), pixels])[:rows].tobytes()
        head = struct.pack(">2I5B", 9, height, 16, 2, 0, 0, interlaced)
        parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
        path.write_bytes(PNG_SIGNATURE + parts)
        return path

    def test_whole_ones_are_decoded(self, tmp_path):
        np.testing.assert_array_equal(decode_deep_png(self.write(tmp_path / "a.png")), self.pixels())

    def test_an_interlaced_one_is_decoded(self, tmp_path):
        """Adam7: a single pixel is all of the first pass."""
        data = b"\0" + np.array([1, 2, 3], ">u2").tobytes()
        head = struct.pack(">2I5B", 1, 1, 16, 2, 0, 0, 1)
        parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
        (tmp_path / "a.png").write_bytes(PNG_SIGNATURE + parts)
        assert decode_deep_png(tmp_path / "a.png").tolist() == [[[1, 2, 3]]]

    @pytest.mark.parametrize("damage", [{"height": 255}, {"rows": 5}, {"filter_type": 9}, {"interlaced": 1}])
    def test_damaged_ones_are_refused(self, damage, tmp_path):
        with pytest.raises(InputError, match=r"a\.png: the PNG has damaged or missing pixels"):
            decode_deep_png(self.write(tmp_path / "a.png", **damage))

    def test_a_damaged_header_is_refused(self, tmp_path):
        path = self.write(tmp_path / "a.png", interlaced=7)
        with pytest.raises(InputError, match=r"a\.png: the PNG has a damaged header"):
            decode_deep_png(path)


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"label": Infinity}', b'{"label": 1' + b"0" * 30 + b"}"])
def test_a_class_in_a_shard_is_judged(text, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, content in (("0.jpg", b"x"), ("0.json", text)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(InputError, match=r"a\.tar/0\.jpg: class "):
        ShardReader([tmp_path / "a.tar"], suffixes=(".jpg",), label="label")[0]


def test_a_file_whose_name_no_table_holds_is_a_row_with_its_error(tmp_path):
    (tmp_path / os.fsdecode(b"a\xff.png")).write_bytes(b"")
    (source,) = find_sources(str(tmp_path), (".png",))
    assert source.name.endswith("a\\udcff.png")
    with pytest.raises(InputError, match="its name isn't UTF-8"):
        list(read_source(source))
    with pytest.raises(InputError, match="its name isn't UTF-8"):
        list(find_sources(os.path.join(tmp_path, os.fsdecode(b"a\xff.png")), (".png",)))


def undecodable(name):
    """A column of text whose bytes are no UTF-8."""
    text = pyarrow.StringArray.from_buffers(1, pyarrow.py_buffer(struct.pack("<2i", 0, 2)), pyarrow.py_buffer(b"\xff."))
    return pyarrow.table({name: text})


@pytest.mark.parametrize(
    "table",
    [
        undecodable("path"),
        pyarrow.table({"image": [{"bytes": 5, "path": "a"}]}),
        pyarrow.table({"other": [1]}),
    ],
)
def test_a_column_that_is_no_list_of_inputs_is_refused(table, tmp_path):
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet: "):
        for source in find_sources(str(tmp_path / "a.parquet"), (".png",)):
            list(read_source(source))


def test_a_long_table_with_a_header_that_is_no_utf8_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"unique_id,ds,\xff\nx,2024-01-01,1\n")
    with pytest.raises(InputError, match=r"a\.csv: "):
        list(read_long(str(tmp_path / "a.csv")))
