"""Run the model tests of the installed timm on the small image networks; `make timm-suite` runs them on all."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

sys.path.insert(0, str(Path(__file__).parent / "timm_suite"))
from run import NoArchive, run

TESTS_PER_MODEL = 11

SMALL = ("ffnet_nano", "ffnet_1", "ffnet_1_hybrid")
"""The others differ in size and by layer scales; their tests take ten minutes of a core."""


@pytest.mark.parametrize("name", SMALL)
def test_timm_accepts(name, tmp_path):
    report = tmp_path / "report.xml"
    try:
        result = run([name], f"--junitxml={report}")
    except NoArchive as reason:
        pytest.skip(f"timm's source archive can't be fetched: {reason}")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-1000:]
    cases = ElementTree.parse(report).findall(".//testcase")
    assert not [case.get("name") for case in cases if case.find("skipped") is not None]
    assert len({case.get("name").split("[")[0] for case in cases}) >= TESTS_PER_MODEL
