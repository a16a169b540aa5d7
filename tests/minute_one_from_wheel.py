"""Build the wheel, install it into a fresh environment, and run examples/minute_one.py there without the network.

python tests/minute_one_from_wheel.py FOLDER [SECONDS]

The dependencies are those of the Python that runs this; the package is the wheel's. Fails after SECONDS (300).
"""

import os
import resource
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]

RUN = """
import runpy, socket, sys
from pathlib import Path

connect = socket.socket.connect
def without_network(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        raise OSError(f"no network here: {address}")
    return connect(self, address)
socket.socket.connect = without_network

import metamixer
assert Path(metamixer.__file__).is_relative_to(sys.prefix), metamixer.__file__
print(f"package: {metamixer.__file__}")
sys.argv = ["minute_one.py", "--minutes", "1"]
runpy.run_path("minute_one.py", run_name="__main__")
"""


def build(folder: Path) -> Path:
    """The wheel of the checkout; the build needs hatchling, from the network unless pip has it."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(CHECKOUT)]
    subprocess.run(pip, check=True)
    (wheel,) = folder.glob("metamixer-*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """A fresh environment with the wheel; returns its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", own, str(wheel)]
    subprocess.run(pip, check=True)
    # Folders in a .pth file follow the environment's own, and the .pth files in them aren't read: an editable
    # installation of the checkout is not seen.
    Path(own, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def main(folder: Path, seconds: float) -> None:
    python = install(build(folder / "wheel"), folder / "environment")
    work = folder / "work"
    work.mkdir()
    shutil.copy(CHECKOUT / "examples" / "minute_one.py", work)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "METAMIXER_WEIGHTS")}
    start, before = time.monotonic(), cpu_seconds()
    try:
        subprocess.run([python, "-c", RUN], cwd=work, env=environment, check=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        sys.exit(f"minute one: not done after {seconds:.0f} s ({cpu_seconds() - before:.0f} s of one core)")
    print(f"minute one: {time.monotonic() - start:.0f} s ({cpu_seconds() - before:.0f} s of one core)")


def cpu_seconds() -> float:
    """Seconds of computation by the processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(Path(sys.argv[1]), float((*sys.argv[2:], 300)[0]))
