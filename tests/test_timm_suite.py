"""Run the model tests of the installed timm on an image network; `make timm-suite` runs them on all."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

sys.path.insert(0, str(Path(__file__).parent / "timm_suite"))
from run import NoArchive, run

TESTS = 11
MODEL = "ffnet_1_hybrid"
"""The smallest with every kind of layer, here with a block per stage; the tests of all take ten minutes of a core."""


def test_timm_accepts_a_network(tmp_path):
    report = tmp_path / "report.xml"
    try:
        result = run([MODEL], f"--junitxml={report}", depths=(1, 1, 1, 1))
    except NoArchive as reason:
        pytest.skip(f"timm's source archive can't be fetched: {reason}")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-1000:]
    cases = ElementTree.parse(report).findall(".//testcase")
    assert not [case.get("name") for case in cases if case.find("skipped") is not None]
    assert len({case.get("name").split("[")[0] for case in cases}) >= TESTS
