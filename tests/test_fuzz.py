"""No file makes a reader fail but in one line that names it: 300 mutated files here, 10,000 by `make fuzz`."""

from pathlib import Path

import pytest

from fuzz.campaign import judge, mutant, run
from fuzz.seeds import Kind, make
from metamixer.errors import InputError


def test_mutated_files_of_every_kind_are_read_or_refused_in_one_line(tmp_path):
    counts, failures = run(300, seed=2026)
    assert failures == []
    assert min(counts.values()) >= 5


def test_the_files_that_are_mutated_are_good(tmp_path):
    kinds = make(tmp_path)
    assert len(kinds) >= 20
    for kind in kinds:
        kind.read(tmp_path / kind.name)


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


def test_a_case_follows_from_its_seed(tmp_path):
    import random

    (tmp_path / "a.csv").write_text("date,a\n2024-01-01,1\n")
    kind = Kind("a.csv", Path.read_text)
    first, second = (mutant(kind, tmp_path, tmp_path, random.Random(5)).read_bytes() for _ in range(2))
    assert first == second
