"""LAS and LAZ files, decoded in a process of its own: laspy and its decompressors abort and hang on some files.

`las.py` starts this file as a program and asks it one thing after another. A message is a line of JSON, in which
`sizes` lists the bytes of each part that follows.
"""

import json
import sys
from contextlib import suppress
from typing import Any, BinaryIO


def limit_memory(size: int) -> None:
    """Let allocations beyond so many bytes fail; nothing where the system has no such limit."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def send(stream: BinaryIO, about: dict[str, Any], *parts: bytes) -> None:
    """Write a message."""
    stream.write(json.dumps({**about, "sizes": [len(part) for part in parts]}).encode() + b"\n")
    for part in parts:
        stream.write(part)
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], list[bytes]]:
    """Read a message; raises EOFError where the other side has ended."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    about = json.loads(line)
    sizes = about.pop("sizes")
    parts = [stream.read(size) for size in sizes]
    if [len(part) for part in parts] != sizes:
        raise EOFError
    return about, parts


def read(path: str):
    """A file, all of whose points are there."""
    import laspy

    file = laspy.read(path)
    if len(file.points) < file.header.point_count:
        raise ValueError(f"{len(file.points)} points, expected {file.header.point_count}, as its header says")
    return file


def answer(about: dict[str, Any], parts: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """The arrays of a file, or none where it was written with labels."""
    import laspy
    import numpy as np

    limit_memory(about["memory"])
    file = read(about["path"])
    if "out" in about:
        name = about["name"]
        if name not in file.point_format.dimension_names:
            file.add_extra_dim(laspy.ExtraBytesParams(name, "int32", "class by metamixer"))
        file[name] = np.frombuffer(parts[0], np.int32)
        with open(about["out"], "r+b") as stream:
            file.write(stream, do_compress=about["compress"])
        return {}, []
    arrays = {"coordinates": np.asarray(file.xyz), "intensity": np.asarray(file.intensity)}
    arrays["labels"] = np.asarray(file.classification)
    if "red" in file.point_format.dimension_names:
        arrays["colours"] = np.stack([file.red, file.green, file.blue], axis=1)
    told = {key: [array.dtype.str, array.shape] for key, array in arrays.items()}
    return {"arrays": told}, [array.tobytes() for array in arrays.values()]


def main() -> None:
    """Answer until the other side ends."""
    while True:
        try:
            about, parts = receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            told, contents = answer(about, parts)
        except OSError as error:
            told, contents = {"error": str(error), "errno": error.errno or 0}, []
        except BaseException as error:  # a panic of the decompressor is no Exception
            first = next(iter(str(error).strip().splitlines()), "")
            told, contents = {"error": f"{type(error).__name__}: {first}"}, []
        send(sys.stdout.buffer, told, *contents)


if __name__ == "__main__":
    main()
