"""PLY point clouds: the vertices with all their properties; the rest of a file is preserved.

The usual library, plyfile, is under the GPL, and others drop unknown properties.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...system.files import written_whole

TYPES = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "<"}
END = b"end_header"


@dataclass(frozen=True)
class Ply:
    """A PLY file: header lines, vertices, and the bytes after them; text: the lines of the vertices in ASCII files."""

    header: list[str]
    vertices: np.ndarray
    rest: bytes
    text: list[bytes] | None

    def names(self) -> tuple[str, ...]:
        """The names of the vertex properties."""
        return self.vertices.dtype.names or ()


def read_ply(path: str | Path) -> Ply:
    """Read a PLY file; raises InputError if it isn't one or is truncated."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from None
    start = content.find(END)
    line_end = content.find(b"\n", start)
    if not content.startswith(b"ply") or start < 0 or line_end < 0:
        raise InputError(f"{path}: no PLY header, expected 'ply' at the start and a header up to 'end_header'")
    header = content[:start].decode("ascii", "replace").split("\n")
    form, count, dtype = _parse(path, [line.split() for line in header])
    body = content[line_end + 1 :]
    if form == "ascii":
        return _read_text(path, header, body, count=count, dtype=dtype)
    size = count * dtype.itemsize
    if len(body) < size:
        raise InputError(f"{path}: {len(body)} bytes after the header, expected {size} for {count} vertices: truncated")
    return Ply(header, np.frombuffer(body, dtype, count), body[size:], None)


def _parse(path: str | Path, lines: list[list[str]]) -> tuple[str, int, np.dtype]:
    """The format, the number of vertices and their type."""
    form = next((words[1] for words in lines if len(words) > 1 and words[0] == "format"), "none")
    if form not in ORDERS:
        raise InputError(f"{path}: format {form!r}, expected one of {', '.join(ORDERS)}")
    elements = [i for i, words in enumerate(lines) if words[:1] == ["element"]]
    if not elements or lines[elements[0]][1:2] != ["vertex"]:
        raise InputError(f"{path}: vertices aren't first, expected 'element vertex' before every other element")
    rows = lines[elements[0] + 1 : elements[1] if len(elements) > 1 else None]
    properties = [words[1:] for words in rows if words[:1] == ["property"]]
    return form, _count(path, lines[elements[0]][2:]), _vertex_type(path, properties, order=ORDERS[form])


def _count(path: str | Path, words: list[str]) -> int:
    if len(words) != 1 or not re.fullmatch(r"\d{1,18}", words[0]):
        raise InputError(f"{path}: element vertex {' '.join(words)!r}, expected the number of vertices")
    return int(words[0])


def _vertex_type(path: str | Path, properties: list[list[str]], *, order: str) -> np.dtype:
    """properties: type and name of each."""
    if not properties:
        raise InputError(f"{path}: vertices without properties, expected x, y and z")
    fields: dict[str, str] = {}
    for words in properties:
        if len(words) != 2 or words[0] not in TYPES:
            raise InputError(
                f"{path}: vertex property {' '.join(words)!r}, expected a name after one of {', '.join(TYPES)}"
            )
        if words[1] in fields:
            raise InputError(f"{path}: vertex property {words[1]!r} twice, expected different names")
        fields[words[1]] = order + TYPES[words[0]]
    return np.dtype(list(fields.items()))


def _read_text(path: str | Path, header: list[str], body: bytes, *, count: int, dtype: np.dtype) -> Ply:
    lines = body.splitlines()
    rows = [line.split() for line in lines[:count]]
    if len(rows) < count or any(len(row) != len(dtype.names or ()) for row in rows):
        raise InputError(
            f"{path}: {len(lines)} lines after the header, expected {count} vertices of {len(dtype)} numbers: truncated"
        )
    vertices = np.empty(count, dtype)
    for i, name in enumerate(dtype.names or ()):
        vertices[name] = _column([row[i] for row in rows], dtype[name], name=f"{path}: {name}")
    return Ply(header, vertices, b"\n".join(lines[count:]) + b"\n" if len(lines) > count else b"", lines[:count])


def _column(words: list[bytes], dtype: np.dtype, *, name: str) -> np.ndarray:
    """Parse numbers; raises InputError for a word that isn't a number of this type."""
    try:
        values = np.array(words, dtype="f8")
    except ValueError:
        raise InputError(f"{name} {_first_odd(words)!r}, expected a number") from None
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        wrong = np.flatnonzero(~((values >= limits.min) & (values <= limits.max) & (values == np.floor(values))))
        if len(wrong):
            word = words[wrong[0]].decode("ascii", "replace")
            raise InputError(f"{name} {word}, expected an integer from {limits.min} to {limits.max}, as its type")
    return values


def _first_odd(words: list[bytes]) -> str:
    for word in words:
        try:
            float(word)
        except ValueError:
            return word.decode("ascii", "replace")
    return ""


def write_ply(path: str | Path, ply: Ply, **added: np.ndarray) -> None:
    """Write the file with additional integer properties, which replace properties of the same name."""
    kept = [name for name in ply.names() if name not in added]
    dtype = np.dtype(
        [(name, ply.vertices.dtype[name].str) for name in kept] + [(name, _order(ply) + "i4") for name in added]
    )
    vertices = np.empty(len(ply.vertices), dtype)
    for name in kept:
        vertices[name] = ply.vertices[name]
    for name, values in added.items():
        vertices[name] = values
    lines = [line.rstrip("\r") for line in ply.header]
    first, end, *_ = [i for i, line in enumerate(lines) if line.split()[:1] == ["element"]] + [len(lines)]
    replaced = [["property", name] for name in added]
    own = [
        line for line in lines[first:end] if line.split()[:3:2] not in replaced
    ]  # other elements may have properties of these names
    header = [*lines[:first], *own, *(f"property int {name}" for name in added), *lines[end:]]
    body = vertices.tobytes() if ply.text is None else _as_text(ply, kept, added)
    with written_whole(path) as part:
        part.write_bytes(
            "\n".join([*(line for line in header if line.strip()), "end_header\n"]).encode() + body + ply.rest
        )


def _order(ply: Ply) -> str:
    return ">" if any(line.split()[1:2] == ["binary_big_endian"] for line in ply.header) else "<"


def _as_text(ply: Ply, kept: list[str], added: dict[str, np.ndarray]) -> bytes:
    """The original text of the vertices, so that no digit is lost, with the new integers."""
    columns = [i for i, name in enumerate(ply.names()) if name in kept]
    rows = (
        b" ".join([*(line.split()[i] for i in columns), *(b"%d" % value for value in values)])
        for line, *values in zip(ply.text or (), *added.values(), strict=True)
    )
    return b"".join(row + b"\n" for row in rows)
