"""Run the model tests of the installed timm on the small image networks; `make timm-suite` runs them on all."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

sys.path.insert(0, str(Path(__file__).parent / "timm_suite"))
from run import NoArchive, run

TESTS_PER_MODEL = 11
SMALL = ("ffnet_nano", "ffnet_1_hybrid")
"""The others differ in size and by layer scales; their tests take ten minutes of a core."""


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """The result of one run on all networks, and its test cases."""
    report = tmp_path_factory.mktemp("timm") / "report.xml"
    try:
        result = run(list(SMALL), f"--junitxml={report}")
    except NoArchive as reason:
        pytest.skip(f"timm's source archive can't be fetched: {reason}")
    return result, ElementTree.parse(report).findall(".//testcase")


@pytest.mark.parametrize("name", SMALL)
def test_timm_accepts(name, suite):
    result, cases = suite
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-1000:]
    of_it = [case for case in cases if re.search(rf"\b{name}\b", case.get("name"))]
    assert not [case.get("name") for case in of_it if case.find("skipped") is not None]
    assert len({case.get("name").split("[")[0] for case in of_it}) >= TESTS_PER_MODEL
