"""Files appear whole or not at all, whoever writes, whatever fails."""

import csv
import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from metamixer.checkpoints.ours import save_network
from metamixer.data.images.lossless import read_picture, write_picture_file
from metamixer.data.points.ply import read_ply, write_ply
from metamixer.deployment import fastest
from metamixer.deployment.formats import FORMATS
from metamixer.deployment.targets import MANIFEST, check_out, written_together
from metamixer.errors import InputError
from metamixer.system import files
from metamixer.system.files import PART, plain_cell, write_csv, write_picture, write_png, write_text, written_whole
from metamixer.system.locks import held

NETWORK = nn.Linear(2, 2)
LONGEST = "n" * 251 + ".txt"


def test_a_name_of_255_bytes_can_be_written(tmp_path):
    write_text(tmp_path / LONGEST, "text")
    assert (tmp_path / LONGEST).read_text() == "text\n"
    assert [path.name for path in tmp_path.iterdir()] == [LONGEST]


def test_threads_that_write_one_file_lose_nothing_and_readers_see_it_whole(tmp_path):
    path, torn, failed = tmp_path / "shared.txt", [], []
    texts = {letter * 20_000 for letter in "abcd"}
    write_text(path, "a" * 20_000)

    def write(text):
        try:
            for _ in range(25):
                write_text(path, text)
        except Exception as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in writers:
        thread.start()
    while any(thread.is_alive() for thread in writers):
        if path.read_text().rstrip("\n") not in texts:
            torn.append(1)
    assert (torn, failed) == ([], [])
    assert [entry.name for entry in tmp_path.iterdir()] == ["shared.txt"]


def killed_while_writing(path, *, by):
    """End a process in the middle of a file that it writes by this function."""
    program = f"""
import os
from pathlib import Path
from {by.__module__} import {by.__name__}
with {by.__name__}(Path({str(path)!r})) as part:
    part.write_text("half")
    os._exit(9)
"""
    subprocess.run([sys.executable, "-c", program], check=False)


def test_what_a_killed_process_left_is_swept_but_not_what_is_being_written(tmp_path):
    killed_while_writing(tmp_path / "a.txt", by=written_whole)
    (stale,) = tmp_path.glob(f"{PART}*")
    files.sweep.cache_clear()
    with written_whole(tmp_path / "b.txt") as part:
        assert not stale.exists()
        files.sweep.cache_clear()
        files.sweep(tmp_path)  # as another process would
        part.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["b.txt"]


def test_what_a_killed_export_left_is_swept_but_not_what_another_is_writing(tmp_path):
    killed_while_writing(tmp_path / "a.xml", by=written_together)
    assert list(tmp_path.glob(f"{PART}*/a.xml"))
    with written_together(tmp_path / "b.xml") as part:
        files.sweep.cache_clear()
        write_text(tmp_path / "c.txt", "text")  # as another process would
        part.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"b.xml", "c.txt"}


@pytest.mark.parametrize("moved", [False, True], ids=["before", "after"])
def test_a_package_survives_a_kill_while_it_is_replaced(moved, tmp_path):
    """The process ends before or after the new package takes its place."""
    out, (replace, end) = tmp_path / "net.mlpackage", ("replace(path, to)", "os._exit(9)")
    out.mkdir()
    (out / MANIFEST).write_text("old")
    program = f"""
import os
from pathlib import Path
from metamixer.deployment.targets import written_together
replace = Path.replace
Path.replace = lambda path, to: {f"({replace}, {end})" if moved else end}
with written_together(Path({str(out)!r})) as part:
    part.mkdir()
    (part / {MANIFEST!r}).write_text("new")
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    assert out.exists() == moved
    with pytest.raises(InputError, match=r"net.mlpackage: exists"):
        check_out(out, FORMATS["coreml"], overwrite=False)
    assert (out / MANIFEST).read_text() == ("new" if moved else "old")
    assert list(tmp_path.iterdir()) == [out]


def test_the_files_of_an_export_are_flushed_before_they_are_moved(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    with written_together(tmp_path / "a.xml") as part:
        part.write_text("whole")
        part.with_suffix(".bin").write_text("whole")
    assert {(tmp_path / name).stat().st_ino for name in ("a.xml", "a.bin")} < set(flushed)


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK], ids=errno.errorcode.get)
def no_locks(request, monkeypatch):
    """A file system without locks."""

    def fail(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr("fcntl.flock", fail)
    monkeypatch.setattr("fcntl.lockf", fail)


def test_a_file_system_without_locks_can_be_written(no_locks, tmp_path, monkeypatch):
    names = iter(["0" * 16])  # a second part file would be the start of an endless loop
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: next(names))
    write_text(tmp_path / "a.txt", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_system_without_locks_isnt_swept(no_locks, tmp_path):
    """Nothing tells there what a living process writes."""
    with written_whole(tmp_path / "a.txt") as part:
        files.sweep.cache_clear()
        write_text(tmp_path / "b.txt", "text")  # as another process would
        assert part.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "b.txt"}


def test_a_file_system_without_locks_holds_a_folder_and_keeps_the_cache_of_deploy(no_locks, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fastest.keep_trial("key", fastest.Form("eager", "fp32"))
    assert list(fastest.read_trials()) == ["key"]
    with held(tmp_path / "run", use=("trains", "run")):
        assert (tmp_path / "run").is_dir()


def test_a_folder_that_cannot_be_held_is_named(tmp_path):
    (tmp_path / "run").touch()
    with (
        pytest.raises(InputError, match="run: is a file, expected another folder"),
        held(tmp_path / "run", use=("", "")),
    ):
        pass


def test_a_symlink_planted_as_a_part_file_is_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    names = iter(["0" * 16, "0" * 16, "1" * 16])
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: next(names))
    (tmp_path / f"{PART}{'0' * 16}.part").symlink_to(victim)
    with pytest.raises(InputError, match="can't be written"):
        write_text(tmp_path / "a.txt", "text")
    assert victim.read_text() == "precious"


def test_nothing_passes_through_the_folder_for_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "not there"))
    monkeypatch.setattr("tempfile.tempdir", None)
    save_network(nn.Linear(2, 2), {"model": "linear"}, tmp_path / "net.safetensors")
    write_picture(tmp_path / "a.jpg", Image.new("RGB", (4, 4)))
    fastest.keep_trial("key", fastest.Form("eager", "fp32"))
    assert {"net.safetensors", "a.jpg"} <= {path.name for path in tmp_path.iterdir()}


def test_the_cache_of_deploy_loses_no_updates(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    form = fastest.Form("eager", "fp32")

    def keep(first):
        for number in range(first, first + 10):
            fastest.keep_trial(str(number), form)

    threads = [threading.Thread(target=keep, args=(10 * i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fastest.read_trials()) == 80
    assert json.loads(fastest.trials_file().read_text()).keys() == {str(number) for number in range(80)}


def _png_of(path):
    source = path.with_name("source.png")
    if not source.exists():  # written before the faults begin
        Image.new("RGB", (4, 4), "red").save(source)
    write_picture_file(read_picture(source), path)


def _ply_of(path):
    source = path.with_name("source.ply")
    if not source.exists():
        source.write_text("ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n")
    write_ply(path, read_ply(source), label=np.zeros(1, np.int32))


WRITERS = {
    "a.txt": lambda path: write_text(path, "new"),
    "a.csv": lambda path: write_csv(path, [["new"]]),
    "a.jpg": lambda path: write_picture(path, Image.new("RGB", (4, 4))),
    "a.png": lambda path: write_png(path, Image.new("L", (4, 4))),
    "b.png": _png_of,
    "a.ply": _ply_of,
    "a.safetensors": lambda path: save_network(NETWORK, {"model": "linear"}, path),
}


class Faults:
    """A layer between the software and the system: the call number `at` of those that write fails."""

    def __init__(self, monkeypatch, error, at):
        self.error, self.at, self.calls, self.fired = error, at, 0, False
        monkeypatch.setattr(os, "fsync", self.wrapped(os.fsync))
        monkeypatch.setattr(os, "open", self.wrapped(os.open))
        monkeypatch.setattr(Path, "replace", self.wrapped(Path.replace))
        monkeypatch.setattr(Path, "write_bytes", self.wrapped(Path.write_bytes))
        monkeypatch.setattr(Path, "write_text", self.wrapped(Path.write_text))
        monkeypatch.setattr(Path, "open", self.wrapped(Path.open))
        monkeypatch.setattr(Image.Image, "save", self.wrapped(Image.Image.save))

    def wrapped(self, function):
        def call(*args, **kwargs):
            self.calls += 1
            if self.calls == self.at:
                self.fired = True
                raise self.error
            return function(*args, **kwargs)

        return call


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "I/O error"), MemoryError()], ids=str
)
def test_the_earlier_file_survives_a_fault_in_any_call(name, error, tmp_path, monkeypatch):
    path = tmp_path / name
    WRITERS[name](path)
    new = path.read_bytes()
    path.write_bytes(b"earlier")
    before = {entry.name for entry in tmp_path.iterdir()}
    for at in range(1, 40):
        with monkeypatch.context() as patch:
            faults = Faults(patch, error, at)
            try:
                WRITERS[name](path)
            except InputError:
                allowed = [b"earlier"]
            except MemoryError:
                allowed = [b"earlier", new]  # the last call is after the file took its place
            else:
                allowed = [new]
        assert {entry.name for entry in tmp_path.iterdir()} == before
        if not faults.fired:
            break
        assert path.read_bytes() in allowed, at
        path.write_bytes(b"earlier")
    assert at > 3


def test_no_cell_is_a_formula(tmp_path):
    cells = ["=1+1", "+x", "-x", "@SUM(1)", "\tx", "-5", "+1e3", "plain", -3, None]
    write_csv(tmp_path / "a.csv", [cells])
    with (tmp_path / "a.csv").open() as file:
        (row,) = csv.reader(file)
    assert row == ["'=1+1", "'+x", "'-x", "'@SUM(1)", "'\tx", "-5", "+1e3", "plain", "-3", ""]
    assert plain_cell("=1") == "'=1"
