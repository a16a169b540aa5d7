"""The results of a benchmark: a table in Markdown, and everything as JSON with the name of the machine."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from metamixer.system.files import write_text
from metamixer.system.machine import describe_machine


def write_results(path: Path, lines: Sequence[str], content: Mapping[str, object]) -> None:
    """Write and print the table as Markdown, and write everything as JSON with the name of the machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path.with_suffix(".json"), json.dumps({"machine": describe_machine(), **content}, indent=1))
    write_text(path.with_suffix(".md"), "\n".join(lines))
    print("\n".join(lines))
