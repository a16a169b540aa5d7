"""No file makes a reader fail but in one line that names it: 300 mutated files here, 10,000 by `make fuzz`."""

import shutil
import threading
from pathlib import Path

import pytest

from fuzz import campaign
from fuzz.campaign import judge, mutant, run
from fuzz.kinds import Kind, make
from fuzz.readers import called_functions, reading_functions
from metamixer.errors import InputError

REFUSED = ("bits.png", "cmyk.jpg", "deep.png", "deep.tif", "fax.tif", "frames.tif")
"""Good images that one of several readers doesn't take."""


def compute_for_ever(path):
    while True:
        pass


def wait_for_ever(path):
    threading.Event().wait()


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    return folder, make(folder)


def test_mutated_files_of_every_kind_are_read_or_refused_in_one_line(seeds):
    counts, failures = run(300, seed=2026, seeds=seeds)
    assert failures == []
    assert set(counts) == {kind.name for kind in seeds[1]}


def test_every_function_that_reads_a_file_is_in_the_campaign(seeds, tmp_path):
    """The seeds are good files, and reading them calls every function that the source shows to read a file."""
    home, kinds = seeds
    assert len(kinds) >= 60

    def read_all():
        for kind in kinds:
            folder = tmp_path / "work" / kind.name
            folder.mkdir(parents=True)
            path = Path(shutil.copy(home / kind.name, folder / f"case{kind.suffix}"))
            kind.place_beside(path, home)
            if kind.name in REFUSED:
                with pytest.raises(InputError, match="case"):
                    kind.read(path)
            else:
                kind.read(path)

    called = called_functions(read_all)
    assert sorted(reading_functions() - called) == []


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (InputError("case.bin: size 3, expected 4"), ""),
        (InputError("size 3, expected 4"), "a message without the file"),
        (IndexError("3"), "IndexError: 3"),
        (SystemExit(1), "SystemExit"),
    ],
)
def test_a_reader_that_fails_otherwise_is_found(error, problem):
    def read(path):
        raise error

    assert judge(Kind("a.bin", read), Path("case.bin")).startswith(problem)


@pytest.mark.parametrize(
    ("limit", "read", "problem"),
    [("SECONDS", compute_for_ever, "took 0.2 s of CPU time"), ("WAIT", wait_for_ever, "waited for 0.2 s")],
)
def test_what_computes_or_waits_for_ever_is_found(limit, read, problem, monkeypatch):
    monkeypatch.setattr(campaign, limit, 0.2)
    assert judge(Kind("a.bin", read), Path("case.bin")) == problem


def test_a_case_follows_from_its_seed(tmp_path):
    import random

    (tmp_path / "a.csv").write_text("date,a\n2024-01-01,1\n")
    kind = Kind("a.csv", Path.read_text)
    first, second = (mutant(kind, tmp_path, tmp_path, random.Random(5)).read_bytes() for _ in range(2))
    assert first == second
