"""Work with inputs that are files: images and point clouds."""

import io
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow

from ..data.images.decoding import MAX_PIXELS, bomb_guard
from ..errors import InputError, first_line, printable
from ..models.tasks import TASKS
from .folder import Folder
from .outputs import OUTPUTS, Output, Prediction
from .shard import PICTURES, Rows, Shard
from .sources import Given, Source, absolute, expect_input, find_sources, local_file, read_source, short_hash

BATCH = 16
"""Inputs that the predictor gets at once."""

SPREAD = pyarrow.schema({"input": pyarrow.string(), "name": pyarrow.string(), "row_group": pyarrow.int64()})
LISTED = 10_000
"""Inputs of a table that is spread."""


@dataclass(frozen=True)
class Files:
    """What a predictor makes of files.

    task: its name; inputs: paths and URLs; load: how the predictor is loaded, as its `load` has it; options: of each
    prediction; pictures: draw each result too; max_pixels: an image of more is an error; place: the folder that
    relative paths start from, which another machine's process isn't in.
    """

    task: str
    inputs: Sequence[str]
    load: Mapping[str, Any]
    options: Mapping[str, Any]
    pictures: bool = False
    max_pixels: int = MAX_PIXELS
    shards: int = 64
    place: str = field(default_factory=os.getcwd)

    key = "input"
    about = "inputs"

    @property
    def device(self) -> str:
        return self.load.get("device", "cpu")

    @property
    def output(self) -> Output:
        return OUTPUTS[self.task]

    @property
    def schema(self) -> pyarrow.Schema:
        text = pyarrow.string()
        return pyarrow.schema({"input": text, "error": text, "picture": text, **self.output.columns})

    def description(self) -> dict[str, Any]:
        load = {name: value for name, value in self.load.items() if name != "device"}
        names = [absolute(name, self.place) for name in self.inputs]
        return {"task": self.task, "inputs": names, **load, **self.options, "pictures": self.pictures}

    def units(self) -> list[str]:
        if not self.inputs:
            raise InputError("no inputs given, expected files, folders or URLs")
        for given in self.inputs:
            if next(find_sources(given, self.output.suffixes), None) is None:
                raise InputError(f"{given}: nothing to predict, expected files of {', '.join(self.output.suffixes)}")
        return list(dict.fromkeys(absolute(given, self.place) for given in self.inputs))

    def spread(self, unit: str) -> Iterator[pyarrow.Table]:
        sources = find_sources(unit, self.output.suffixes, self.place)
        while some := list(islice(sources, LISTED)):
            rows = [{"input": each.key, "name": each.name, "row_group": each.row_group} for each in some]
            yield pyarrow.Table.from_pylist(rows, SPREAD)

    def prepare(self) -> Any:
        module, name = TASKS[self.task].predictor.rsplit(".", 1)
        return getattr(import_module(f"..predictors.{module}", __package__), name).load(**self.load)

    def predict(self, held: Any, shard: Shard) -> Iterator[Rows]:
        batch: list[Given] = []
        for given in self._given(shard):
            if isinstance(given, Rows):
                yield given
                continue
            batch.append(given)
            if len(batch) == BATCH or shard.careful:
                yield self._rows(held, batch, shard)
                batch = []
        if batch:
            yield self._rows(held, batch, shard)

    def _given(self, shard: Shard) -> Iterator[Given | Rows]:
        """The inputs that aren't done, each once, and rows with the errors of what can't be opened."""
        done = set(shard.done)
        for row in (row for table in shard.inputs() for row in table.to_pylist()):
            source = Source(row["name"], row["row_group"])
            try:
                for given in read_source(source, done):
                    if given.name in done:
                        continue
                    done.add(given.name)
                    if given.name in shard.deadly:
                        yield self._table([self._failed(given.name, InputError("ended the process that read it"))])
                    else:
                        yield given
            except InputError as error:
                if source.key not in done:
                    yield self._table([self._failed(source.key, error)])

    def _rows(self, predictor: Any, batch: Sequence[Given], shard: Shard) -> Rows:
        """The predictions of a few inputs, or what went wrong with each."""
        rows: dict[str, dict[str, Any]] = {}
        shard.announce(batch[0].name)
        with ExitStack() as files, warnings.catch_warnings(action="ignore"), bomb_guard(self.max_pixels):
            paths: dict[str, Path] = {}
            for given in batch:
                try:
                    paths[given.name] = expect_input(files.enter_context(local_file(given)), self.output.suffixes)
                except Exception as error:  # such as a name that no temporary file can have
                    rows[given.name] = self._failed(given.name, error)
            for (name, path), found in zip(paths.items(), self._predictions(predictor, [*paths.values()]), strict=True):
                try:
                    if isinstance(found, Exception):
                        raise found
                    picture = self._draw(found, name, shard.folder) if self.pictures else None
                    rows[name] = {"input": name, "picture": picture, **found.values}
                except Exception as error:  # a library that trips over one input must not cost the others
                    rows[name] = self._failed(name, error, str(path))
        return self._table([rows[given.name] for given in batch])

    def _predictions(self, predictor: Any, paths: Sequence[Path]) -> Sequence[Prediction | Exception]:
        try:
            return self.output.predict(predictor, paths, **self.options)
        except Exception as error:
            if len(paths) == 1:
                return [error]
            return [self._predictions(predictor, [path])[0] for path in paths]

    def _draw(self, prediction: Prediction, name: str, folder: Folder) -> str:
        picture = f"{PICTURES}/{PurePosixPath(name).stem}-{short_hash(name)}.jpg"
        file = io.BytesIO()
        prediction.result.draw().convert("RGB").save(file, format="JPEG", quality=92)
        folder.write(picture, file.getvalue())
        return picture

    def _failed(self, key: str, error: Exception, path: str | None = None) -> dict[str, Any]:
        """The row of an input's error; path: where its copy was, which says nothing to the user."""
        said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {first_line(error)}"
        return {"input": key, "error": printable(said.replace(path or key, key).removeprefix(f"{key}: "))}

    def _table(self, rows: Sequence[Mapping[str, Any]]) -> Rows:
        return Rows(pyarrow.Table.from_pylist(list(rows), self.schema), [row["input"] for row in rows])
