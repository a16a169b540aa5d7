"""The output of a command: lines of text, or its result as JSON."""

import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from ..errors import printable
from ..system.files import check_targets, write_text
from ..system.json_files import json_text
from .downloads import with_urls

OWN_CLASSES = "metamixer train FOLDER to train on classes of your own"
FASTER = "add --backend auto for the fastest form on this machine"
MORE_VOTES = "add --votes 13 for 13 views of each cloud: more accurate, slower"
NAMED = 12
"""Classes that are listed at most."""


class Output:
    """`--json FILE` writes the result to a file, `--json -` to standard output instead of all other lines.

    sources: the inputs, results: other files that the command writes; raises InputError if FILE is one of them.
    """

    def __init__(
        self,
        target: str | None,
        *,
        sources: Iterable[Path] = (),
        results: Iterable[Path] = (),
        overwrite: bool = False,
    ):
        self.target = target
        if target not in (None, "-"):
            check_targets([*results, Path(target)], sources=sources, overwrite=overwrite)

    def say(self, line: object) -> None:
        """Print a line, except with `--json -`."""
        if self.target != "-":
            print(printable(with_urls(str(line)), keep="\n"), flush=True)

    def alone(self) -> AbstractContextManager[object]:
        """A context for work that prints lines itself: with `--json -`, they go to standard error."""
        return redirect_stdout(sys.stderr) if self.target == "-" else nullcontext()

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
        text = json_text(result)
        if self.target == "-":
            print(text)
        elif self.target:
            write_text(self.target, text)
        written = [*map(printable, wrote), *([self.target] if self.target else [])]
        if written:
            self.say(f"wrote {', '.join(written)}")
        if then:
            self.say(f"next: {then}")
