"""What a run of `metamixer train TABLE` stores before it trains, so that a killed run can start again the same way."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field

from ...errors import MOST_EPOCHS, InputError
from ...system.files import write_text
from ...system.metadata import STRICT, Name, read_as
from ...system.yaml_files import read_yaml
from ...training.run_folder import TUNING


@dataclass(frozen=True)
class TuningRun:
    """What determines the result of fine-tuning on a table.

    table: SHA-256 of the file; steps: of training; initial: name of the weights to start from, of which the run folder
    has a copy; None: the packaged ones.
    """

    __pydantic_config__ = STRICT

    table: Name
    steps: Annotated[int, Field(ge=1, le=MOST_EPOCHS)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    initial: Annotated[str, Field(max_length=4096)] | None

    def write(self, out: Path) -> None:
        """Write it to the run folder."""
        write_text(out / TUNING, yaml.safe_dump(asdict(self), sort_keys=False).rstrip())

    def expect_table(self, table: Path, out: Path) -> None:
        """Raise InputError unless the file has the content that it had when the run started."""
        if digest(table) != self.table:
            raise InputError(
                f"{table}: not the table that the run in {out} started with, expected it unchanged to resume; train "
                "without --resume"
            )


def read_tuning_run(file: Path) -> TuningRun:
    """What `TuningRun.write` wrote; raises InputError that names the file and the key."""
    return read_as(TuningRun, read_yaml(file, expected="the settings of a run"), str(file))


def digest(file: Path) -> str:
    """The SHA-256 of a file's content."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
