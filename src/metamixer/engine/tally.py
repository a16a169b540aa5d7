"""What a job has done so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .shard import MESSAGES


@dataclass
class Tally:
    """What a job has done.

    inputs, failed: how many, and how many of them have an error; errors: some of them; shards: how many of them are
    done; machines: Ray's names of those that took part.
    """

    inputs: int = 0
    failed: int = 0
    shards: int = 0
    errors: list[str] = field(default_factory=list)
    machines: set[str] = field(default_factory=set)

    def add(self, shard: Mapping[str, Any]) -> None:
        self.inputs += shard["inputs"]
        self.failed += shard["failed"]
        self.shards += 1
        self.errors = [*self.errors, *shard["errors"]][:MESSAGES]
        self.machines.add(shard["machine"])
