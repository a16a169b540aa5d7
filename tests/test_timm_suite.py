"""Run the model tests of the installed timm on every image network of the package."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from metamixer.models.ffnet import VARIANTS

sys.path.insert(0, str(Path(__file__).parent / "timm_suite"))
from run import NoArchive, run

TESTS_PER_MODEL = 11


@pytest.mark.parametrize("name", VARIANTS)
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
