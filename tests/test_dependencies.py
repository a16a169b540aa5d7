"""The lower bounds in pyproject.toml leave out versions with known vulnerabilities."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())["project"]
FIRST_FIXED = {
    "lightning": ("2.6.6", "2.6.2 and 2.6.3 were malicious; CVE-2024-8019 before"),
    "pillow": ("13.0.0", "CVE-2026-96641; CVE-2026-59197 to 59200: memory errors"),
    "onnx": ("1.22.0", "CVE-2026-44512: crashes; CVE-2026-27489: files outside the folder"),
    "ray": ("2.56.0", "CVE-2026-41486: code in a Parquet file; CVE-2026-57516; CVE-2025-62593"),
    "pyarrow": ("14.0.1", "CVE-2023-47248: code in a file"),
    "pydantic": ("2.4.0", "CVE-2024-3772"),
    "scikit-learn": ("1.5.0", "CVE-2024-5206"),
    "transformers": ("4.53.0", "CVE-2025-6638 and others: regular expressions without end"),
}
"""Package -> the first version without these, by the PyPI Advisory Database and CVE records as of November 2026;
`make audit` asks for today's. PyTorch isn't in it: clusters have 2.10 to 2.12, in which loading a .pt2 may
run its code (CVE-2026-4538); this package reads a .pt2 with a parser of its own first.
"""


@pytest.mark.parametrize("name", FIRST_FIXED)
def test_a_vulnerable_version_cannot_be_installed(name):
    lines = chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    found = [each for each in map(Requirement, lines) if re.sub("[-_.]+", "-", each.name) == name]
    assert found
    fixed, why = FIRST_FIXED[name]
    major, minor, patch = map(int, fixed.split("."))
    before = f"{major}.{minor}.{patch - 1}" if patch else f"{major}.{minor - 1}.99" if minor else f"{major - 1}.99"
    for requirement in found:
        assert requirement.specifier and not requirement.specifier.contains(before), why
