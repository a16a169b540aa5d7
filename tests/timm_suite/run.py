"""Run the model tests of timm's source archive on our networks: `python tests/timm_suite/run.py [model ...]`."""

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

HERE = Path(__file__).parent


class NoArchive(Exception):  # noqa: N818
    """pip can't download timm's source archive; the message is the reason."""


def fetch_tests() -> Path:
    """Download tests/test_models.py of the installed timm to a cache folder next to torch's; return its path."""
    release = f"timm-{version('timm')}"
    tests = Path(torch.hub.get_dir()).parent / "metamixer" / release / "test_models.py"
    if tests.is_file():
        return tests
    tests.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tests.parent) as folder:
        command = ["download", "--no-deps", "--no-binary", "timm", "--dest", folder, release.replace("-", "==")]
        pip = subprocess.run([sys.executable, "-m", "pip", *command], capture_output=True, text=True)
        if pip.returncode:
            raise NoArchive(pip.stderr.strip().splitlines()[-1])
        with tarfile.open(Path(folder) / f"{release}.tar.gz") as archive:
            archive.extract(f"{release}/tests/test_models.py", folder, filter="data")
        # Atomic, so that a parallel test process never sees an incomplete file.
        os.replace(Path(folder) / release / "tests" / "test_models.py", tests)
    return tests


def run(models: list[str], *options: str, depths: Sequence[int] = ()) -> subprocess.CompletedProcess:
    """Run timm's tests on the models, except those that download weights.

    options: more options of pytest; depths: blocks of each stage, in place of the models' own.
    """
    tests = fetch_tests()
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    given = {"METAMIXER_TIMM_MODELS": " ".join(models), "METAMIXER_TIMM_DEPTHS": " ".join(map(str, depths))}
    environment = {**os.environ, **given, "PYTHONPATH": path}
    command = [
        "-c",
        os.devnull,
        "-p",
        "only_ours",
        "-p",
        "no:cacheprovider",
        "-k",
        "not pretrained",
        "-W",
        "ignore",
        *options,
    ]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *command, str(tests)],
        cwd=tests.parent,
        env=environment,
        capture_output=True,
        text=True,
    )


if __name__ == "__main__":
    from metamixer.models.ffnet import VARIANTS

    result = run(sys.argv[1:] or list(VARIANTS), "--durations=10")
    print(result.stdout, result.stderr, sep="\n")
    sys.exit(result.returncode)
