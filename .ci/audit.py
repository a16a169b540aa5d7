#!/usr/bin/env python3
"""Known vulnerabilities of the installed packages, by pip-audit: `make audit`.

Exit code 1 where a package has one. Where no advisory database can be reached it says so in one line, with exit code
0, because nothing was found out. The database is first asked about one package: only where it knows that, about all.
"""

import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

COMMAND = (sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off")
PROBE = "numpy"
SECONDS = 600


def ask(*options: str) -> tuple[list[dict], str]:
    """pip-audit's packages, and why there are none."""
    try:
        answer = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return [], f"no answer in {SECONDS} s"
    why = (answer.stderr.strip().splitlines() or ["no answer"])[-1]
    try:
        packages = json.loads(answer.stdout)["dependencies"]
    except (ValueError, KeyError):
        return [], why
    checked = [package for package in packages if "vulns" in package]
    return checked, next((package["skip_reason"] for package in packages if "skip_reason" in package), why)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, "requirements.txt")
        probe.write_text(f"{PROBE}=={version(PROBE)}\n")
        checked, why = ask("-r", str(probe), "--no-deps", "--disable-pip")
    if checked:
        checked, why = ask("--skip-editable")
    if not checked:
        print(f"audit: not run, no advisory database can be reached ({why[:200]})")
        return 0
    found = [(package, one) for package in checked for one in package["vulns"]]
    for package, one in found:
        fixed = ", ".join(one["fix_versions"]) or "no version yet"
        print(f"audit: {package['name']} {package['version']}: {one['id']}, fixed in {fixed}")
    print(f"audit: {len(checked)} packages checked, {len(found)} vulnerabilities known")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
