"""Changes of a file's bytes: blind ones, and ones that know JSON, YAML, tables and archives."""

import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable

Mutation = Callable[[bytes, random.Random], bytes]
NUMBERS = (0, 1, -1, 7, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
VALUES = (
    *(0, -1, 1, 2**31, 2**63, 2**64, 10**30, -(10**12), 1e9, 1e308, -1e308, float("nan"), float("inf")),
    *(None, True, "", "x", "\x1b[31m", "=1+1", "a\nb", "../../etc/passwd", "os:system", [], {}, [[]], [None], {"a": 1}),
)


def flip(data: bytes, chance: random.Random) -> bytes:
    """One to sixteen bits."""
    result = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        result[chance.randrange(len(result))] ^= 1 << chance.randrange(8)
    return bytes(result)


def flip_head(data: bytes, chance: random.Random) -> bytes:
    """Bytes of the header."""
    result = bytearray(data)
    for _ in range(chance.choice((1, 2, 4))):
        result[chance.randrange(min(len(result), 400))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return bytes(result)


def cut(data: bytes, chance: random.Random) -> bytes:
    """The beginning, or all but a piece."""
    start = chance.randrange(len(data))
    return data[:start] if chance.random() < 0.6 else data[:start] + data[start + chance.randrange(1, 64) :]


def splice(data: bytes, chance: random.Random) -> bytes:
    """A piece at another place, or several times."""
    start, place = chance.randrange(len(data)), chance.randrange(len(data))
    piece = data[start : start + chance.randrange(1, 256)] * chance.choice((1, 1, 2, 50))
    return data[:place] + piece + data[place + (len(piece) if chance.random() < 0.5 else 0) :]


def field(data: bytes, chance: random.Random) -> bytes:
    """A number of 1, 2, 4 or 8 bytes in the header, or anywhere."""
    form = chance.choice(["<B", "<H", "<I", "<Q", ">H", ">I", ">Q", "<f", "<d"])
    size = struct.calcsize(form)
    value = chance.choice(NUMBERS)
    packed = struct.pack(form, float(value) if form[1] in "fd" else value % 2 ** (8 * size))
    place = chance.randrange(max(min(len(data), chance.choice((64, 400, len(data)))) - size, 1))
    return data[:place] + packed + data[place + size :]


def other(data: bytes, chance: random.Random) -> bytes:
    """Nothing, noise, zeros, another kind of file."""
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a/b", b"c")
    return chance.choice(
        (
            b"",
            chance.randbytes(chance.randrange(1, 3000)),
            bytes(len(data)),
            b"\x89PNG\r\n\x1a\n" + data,
            b"GIF89a",
            b"LASF" + data,
            b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 3), }",
            b"[" * 100_000,
            b"{" * 1000,
            b"- " * 5000,
            "\ufeff".encode("utf-16") + data,
            zipped.getvalue(),
            b"\xff\xfe" + data,
        )
    )


def number_in_text(data: bytes, chance: random.Random) -> bytes:
    """A number in a text, by another value."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data))
    if not found:
        return flip(data, chance)
    match = chance.choice(found[: 1000 if chance.random() < 0.5 else 20])
    return data[: match.start()] + str(chance.choice(VALUES)).encode() + data[match.end() :]


def line(data: bytes, chance: random.Random) -> bytes:
    """A line twice, away, empty, or with more in it."""
    lines = data.splitlines(keepends=True) or [b"\n"]
    place = chance.randrange(len(lines))
    old = lines[place]
    lines[place] = chance.choice((b"", old * 2, b"\n", old[:-1] + b",1\n", b'"' + old, old.replace(b",", b";"), b"\0"))
    return b"".join(lines)


def json_value(data: bytes, chance: random.Random) -> bytes:
    """A value of JSON by one of another type, a key by another, or a key away."""
    content = json.loads(data)
    places = list(_places(content))
    holder, key = chance.choice(places)
    turn = chance.random()
    if turn < 0.75 or isinstance(holder, list):
        holder[key] = chance.choice(VALUES)
    elif turn < 0.9:
        del holder[key]
    else:
        holder[str(chance.choice(VALUES))] = holder.pop(key)
    return json.dumps(content).encode()


def _places(content):
    for key, value in list(content.items() if isinstance(content, dict) else enumerate(content)):
        yield content, key
        if isinstance(value, dict | list):
            yield from _places(value)


def in_archive(data: bytes, chance: random.Random) -> bytes:
    """An entry of a ZIP changed, renamed, twice or away; the archive itself is whole."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(info.filename, archive.read(info), info.compress_type) for info in archive.infolist()]
    place = chance.randrange(len(entries))
    json_entries = [i for i, (name, _, _) in enumerate(entries) if name.endswith(("json", "metamixer"))]
    if json_entries and chance.random() < 0.6:
        place = chance.choice(json_entries)
    name, content, packed = entries[place]
    turn = chance.random()
    if turn < 0.75 and content:
        change = json_value if place in json_entries else chance.choice((flip, flip_head, cut, splice, field))
        entries[place] = (name, change(content, chance), packed)
    elif turn < 0.85:
        entries[place] = (name + chance.choice((".x", "/../x", "\x1b[2J")), content, packed)
    elif turn < 0.95:
        entries.append(entries[place])
    else:
        del entries[place]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content, packed in entries:
            archive.writestr(name, content, packed)
    return file.getvalue()


def in_safetensors(data: bytes, chance: random.Random) -> bytes:
    """A value in the header, or in the metadata in it."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    if chance.random() < 0.8:
        info = json_value(header["__metadata__"]["metamixer"].encode(), chance)
        header["__metadata__"]["metamixer"] = info.decode()
        packed = json.dumps(header).encode()
    else:
        packed = json_value(json.dumps(header).encode(), chance)
    return len(packed).to_bytes(8, "little") + packed + data[8 + size :]


BLIND: tuple[Mutation, ...] = (flip, flip_head, cut, splice, field, other)


def mutations_of(name: str) -> tuple[Mutation, ...]:
    """Those that suit a file by its name; the knowing ones weigh as much as the blind ones together."""
    if name.endswith(".json"):
        knowing: tuple[Mutation, ...] = (json_value, json_value, number_in_text)
    elif name.endswith((".npz", ".pt2", ".ckpt", ".pt")):
        knowing = (in_archive, in_archive)
    elif name.endswith(".safetensors"):
        knowing = (in_safetensors, in_safetensors)
    elif name.endswith((".yaml", ".csv", ".ply", ".xml")):
        knowing = (number_in_text, line)
    else:
        knowing = ()
    return (*BLIND, *knowing, *knowing)
