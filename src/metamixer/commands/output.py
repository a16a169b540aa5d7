"""The output of a command: lines of text, or its result as JSON."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import printable
from ..system.files import check_targets, write_text

OWN_CLASSES = "metamixer train FOLDER to train on classes of your own"
NAMED = 12
"""Classes that are listed at most."""


class Output:
    """`--json FILE` writes the result to a file, `--json -` to standard output instead of all other lines."""

    def __init__(self, target: str | None, *, sources: Iterable[Path] = (), overwrite: bool = False):
        self.target = target
        if target not in (None, "-"):
            check_targets([Path(target)], sources=sources, overwrite=overwrite)

    def say(self, line: object) -> None:
        """Print a line, except with `--json -`."""
        if self.target != "-":
            print(printable(line, keep="\n"), flush=True)

    def introduce(self, model: str | None, task: str, classes: Sequence[str]) -> None:
        """Print the name of the weights and the classes that they know.

        model: the requested name; None for the task's default.
        """
        from ..checkpoints.source import weights_name

        more = ", ..." if len(classes) > NAMED else ""
        names = [name.partition(",")[0] for name in classes[:NAMED]]  # ImageNet's names go on with synonyms
        self.say(f"{weights_name(model, task)} knows {len(classes)} classes: {', '.join(names)}{more}")

    def end(self, result: Any, *, wrote: Iterable[object] = (), then: str = "") -> None:
        """Write the result as JSON if requested; print the files written and a next command."""
        if self.target == "-":
            print(json.dumps(result, indent=1))
        elif self.target:
            write_text(self.target, json.dumps(result, indent=1))
        written = [*map(str, wrote), *([self.target] if self.target else [])]
        if written:
            self.say(f"wrote {', '.join(written)}")
        if then:
            self.say(f"next: {then}")
