"""Changes of files of numbers: NPY, PLY, LAS, Parquet."""

import io
import random
import re
import struct

from .mutations import NUMBERS

SHAPES = (
    "(10**12, 3)",
    "(1000000000000, 3)",
    "(-1, 3)",
    "()",
    "(0, 3)",
    "(1,) * 40",
    "(3, 50)",
    "150",
    "(2.5, 3)",
    "None",
)
TYPES = (
    *("|O", "<f2", ">f4", "<c16", "<M8[s]", "<U9", "|S40", "|V12", "?", "<f16", "x"),
    *("[('a', '<f4')]", "('<f4', (1099511627776,))", "[('a', '|O')]", "{'names': [], 'formats': []}", "3"),
)


def in_npy(data: bytes, chance: random.Random) -> bytes:
    """The header's shape, type, order, version or length, or a value."""
    turn = chance.random()
    if turn < 0.4:
        head = re.sub(rb"'shape': \(.*?\)", f"'shape': {chance.choice(SHAPES)}".encode(), data, count=1)
    elif turn < 0.75:
        kind = chance.choice(TYPES)
        kind = f"'{kind}'" if kind[0] not in "[({3" else kind
        head = re.sub(rb"'descr': '.*?'", f"'descr': {kind}".encode(), data, count=1)
    elif turn < 0.85:
        return data[:6] + bytes((chance.choice((0, 1, 2, 3, 9)), chance.choice((0, 1)))) + data[8:]
    elif turn < 0.92:
        place = chance.randrange(128, max(len(data) - 4, 129))
        return data[:place] + struct.pack("<f", chance.choice((float("nan"), float("inf"), 3e38))) + data[place + 4 :]
    else:
        order = chance.choice(
            (b"'fortran_order': True", b"'fortran_order': 1", b"'fortran_order': __import__('os')", b"")
        )
        head = re.sub(rb"'fortran_order': \w+", order, data, count=1)
    text = head[10 : head.index(b"\n", 10) + 1]
    return data[:8] + struct.pack("<H", len(text)) + head[10:]


def in_ply(data: bytes, chance: random.Random) -> bytes:
    """A line of the header: elements, properties, format."""
    head, end, body = data.partition(b"end_header\n")
    lines = head.split(b"\n")
    place = chance.randrange(len(lines))
    lines[place] = chance.choice(
        (
            b"element vertex " + str(chance.choice((*NUMBERS, 10**17, 49, 51))).encode(),
            b"element face 1000000000",
            b"property list uchar int x",
            b"property list uint double vertex_index",
            b"property double x",
            b"property float128 x",
            b"property float prediction",
            b"property uchar red\nproperty uchar green\nproperty uchar blue",
            b"property float intensity",
            b"property float label",
            b"format ascii 1.0",
            b"format binary_little_endian 1.0",
            b"format binary_big_endian 2.0",
            b"comment \x1b[2J\xff",
            b"comment " + b"x" * 9000,
            b"property float " + b"y" * 5000,
            b"property float",
            b"",
            b"ply",
        )
    )
    if chance.random() < 0.3 and len(body) > 4:
        place = chance.randrange(len(body) - 3)
        body = (
            body[:place]
            + chance.choice((b"nan ", struct.pack("<f", float("inf")), b"1e99", b"\xff" * 4))
            + body[place + 4 :]
        )
    return b"\n".join(lines) + end + body


LAS_FIELDS = {
    "<H": (6, 94, 105),
    "<I": (96, 100, 107, 111, 235, 243),
    "<B": (24, 25, 104, 104),
    "<Q": (227, 235, 247, 255),
    "<d": (131, 139, 147, 155, 163, 171, 179, 187),
}
"""Places in the header: offsets, counts, versions, formats, scales, extents."""


def in_las(data: bytes, chance: random.Random) -> bytes:
    """A field of the header, or a byte of the records behind it."""
    result = bytearray(data)
    form = chance.choice(tuple(LAS_FIELDS))
    floats = (0.0, -1.0, 1e300, 1e-300, float("nan"), float("inf"))
    size = 8 * struct.calcsize(form)
    value = chance.choice(floats) if form == "<d" else chance.choice((*NUMBERS, 2, 3, 6, 10, 128 + 3)) % 2**size
    struct.pack_into(form, result, chance.choice(LAS_FIELDS[form]), value)
    if chance.random() < 0.3:
        place = chance.randrange(227, len(result))
        result[place] ^= 1 << chance.randrange(8)
    return bytes(result)


def in_parquet(data: bytes, chance: random.Random) -> bytes:
    """A column of another type or name, no rows, no columns, or bytes of the footer."""
    import pyarrow
    import pyarrow.parquet as parquet

    if chance.random() < 0.4:
        length = int.from_bytes(data[-8:-4], "little")
        result = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 4))):
            result[len(data) - 8 - chance.randrange(1, length)] = chance.choice(
                (0, 0x7F, 0x80, 0xFF, chance.randrange(256))
            )
        return bytes(result)
    table = parquet.read_table(io.BytesIO(data))
    place, count = chance.randrange(table.num_columns), table.num_rows
    column = chance.choice(_columns(count, pyarrow))
    name = chance.choice((table.column_names[place], table.column_names[0], "", "\x1b[2J", "=1", "a\nb", "x" * 3000))
    turn = chance.random()
    if turn < 0.6:
        table = table.set_column(place, table.column_names[place], column)
    elif turn < 0.75:
        table = table.rename_columns([name if i == place else old for i, old in enumerate(table.column_names)])
    elif turn < 0.85:
        table = table.append_column(name, column)
    else:
        table = chance.choice((table.slice(0, 0), table.slice(0, 1), table.select([place]), table.remove_column(place)))
    if chance.random() < 0.5:
        table = table.replace_schema_metadata(chance.choice(({}, {b"pandas": b"{}"}, {b"pandas": b"[" * 9999})))
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()


def _columns(count: int, pyarrow):
    """Columns of types that a reader may not expect."""
    values = range(count)
    return [
        pyarrow.array([None] * count, pyarrow.null()),
        pyarrow.array([[1, 2]] * count),
        pyarrow.array([{"bytes": b"x", "path": None}] * count),
        pyarrow.array([{"a": {"b": i}} for i in values]),
        pyarrow.array([b"\xff\xfe"] * count),
        pyarrow.array(["\x1b[2J"] * count),
        pyarrow.array(["a", "b"] * (count // 2) + ["a"] * (count % 2)).dictionary_encode(),
        pyarrow.array(values, pyarrow.uint64()),
        pyarrow.array([float("nan")] * count),
        pyarrow.array([float("inf")] * count),
        pyarrow.array([True] * count),
        pyarrow.array(values, pyarrow.duration("s")),
        pyarrow.array(values, pyarrow.date32()),
        pyarrow.array([2**62] * count, pyarrow.timestamp("s")),
        pyarrow.array(values, pyarrow.timestamp("ns", tz="Europe/Berlin")),
        pyarrow.array(values, pyarrow.timestamp("ns", tz="Nowhere/Place")),
        pyarrow.array(values, pyarrow.time64("us")),
        pyarrow.array(values).cast(pyarrow.decimal128(30, 5)),
        pyarrow.array([2**63 - 1] * count),
    ]
