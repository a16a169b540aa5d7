"""Changes of a file's bytes: blind ones, and ones that know texts: JSON, YAML, tables."""

import gzip
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
    *("x" * 5000, "\ud800", "\0", "\u202e", 10**4000, [0] * 3000, {str(number): 0 for number in range(500)}),
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
    """A value of JSON by one of another type or by another of its values, a key by another, away, twice, or deep."""
    content = json.loads(data)
    places = list(_places(content))
    holder, key = chance.choice(places)
    turn = chance.random()
    if turn < 0.5:
        holder[key] = chance.choice(VALUES)
    elif turn < 0.65:
        other, name = chance.choice(places)
        holder[key] = other[name]
    elif turn < 0.75 and isinstance(holder[key], list) and holder[key]:
        holder[key] = chance.choice((holder[key] * 2, holder[key][:-1], holder[key][::-1], [holder[key]]))
    elif turn < 0.8:
        nested = b"[" * 3000 + b"]" * 3000
        holder[key] = "NESTED"
        return json.dumps(content).encode().replace(b'"NESTED"', nested)
    elif turn < 0.85:
        holder[key] = "REPEATED"
        return json.dumps(content).encode().replace(b'"REPEATED"', b'{"a": 1, "a": 2}')
    elif isinstance(holder, list) or turn < 0.93:
        del holder[key]
    else:
        holder[str(chance.choice(VALUES))[:9]] = holder.pop(key)
    return json.dumps(content).encode()


def _places(content):
    for key, value in list(content.items() if isinstance(content, dict) else enumerate(content)):
        yield content, key
        if isinstance(value, dict | list):
            yield from _places(value)


def yaml_text(data: bytes, chance: random.Random) -> bytes:
    """Tags, references, merges and values of YAML that mean something else than text."""
    scraps = (
        b"!!python/object/apply:os.system ['true']",
        b"!!python/name:os.system",
        b"&a [*a]",
        b"&a {b: *a}",
        b"{<<: *missing}",
        b"!!binary aGVsbG8=",
        b"!!set {a, b}",
        b"!!timestamp 2001-12-14t21:59:43.10-05:00",
        b"2001-99-99",
        b"0x" + b"f" * 5000,
        b"1" * 5000,
        b"190:20:30",
        b".inf",
        b".nan",
        b"~",
        b"yes",
        b"[" * 200 + b"]" * 200,
        b"? [a, b]\n: c",
        b'"\\x1b[2J"',
        b"\t- a",
        b"!!omap [a: 1]",
        b"!<tag:x> y",
    )
    if chance.random() < 0.2:
        levels = [b"a0: &a0 [x,x,x,x,x,x,x,x,x]"]
        levels += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]".encode() for n in range(1, chance.choice((3, 9)))]
        return b"\n".join(levels) + b"\n" + data
    found = list(re.finditer(rb"(?<=: )[^\n]+|(?<=- )[^\n]+", data))
    match = chance.choice(found)
    return data[: match.start()] + chance.choice(scraps) + data[match.end() :]


def cell(data: bytes, chance: random.Random) -> bytes:
    """A cell of a table by another: a date that isn't one, a number of another kind, text, quotes."""
    scraps = (
        *(b"", b"nan", b"inf", b"-inf", b"1e999", b"0x10", b"1_000", b"1,5", b"true", b"None", b"\x1b[2J", b"=1+1"),
        *(b"9999-12-31", b"0001-01-01", b"99999-01-01", b"2024-02-30", b"2024-01-01T00:00:00+99:00", b"1700000000"),
        *(b"2024-01-01 00:00:00+02:00", b"2024-01-01T00:00:00Z", b"01/02/2024", b"13:00", b"-1", b"9" * 400),
        *(
            b'"',
            b'"a\nb"',
            b"'",
            b"a" * 70_000,
            "\u0661\u0662".encode(),
            b"\xff\xfe",
            b"\0",
            b"date",
            b"unique_id",
            b"a",
        ),
    )
    lines = data.split(b"\n")
    place = chance.randrange(len(lines))
    mark = b";" if lines[0].count(b";") > lines[0].count(b",") else b","
    cells = lines[place].split(mark)
    column = chance.randrange(len(cells))
    if chance.random() < 0.15:  # the whole column
        value = chance.choice(scraps)
        rows = [line.split(mark) for line in lines[1:] if line]
        return b"\n".join([lines[0], *(mark.join([*row[:column], value, *row[column + 1 :]]) for row in rows), b""])
    cells[column] = chance.choice(scraps)
    lines[place] = mark.join(cells)
    return b"\n".join(lines)


def packed(data: bytes, chance: random.Random) -> bytes:
    """The contents of a gzip file, changed."""
    change = chance.choice((cell, line, number_in_text, flip))
    return gzip.compress(change(gzip.decompress(data), chance))


BLIND: tuple[Mutation, ...] = (flip, flip_head, cut, splice, field, other)
