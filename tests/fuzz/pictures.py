"""Changes of images that know their parts: PNG's chunks, JPEG's segments, TIFF's entries, WebP's chunks, GIF, BMP."""

import random
import struct
import zlib

from .mutations import NUMBERS, field

BOMB = zlib.compress(bytes(2**26), 9)
"""64 MiB in 64 KiB."""
EXIF = (
    b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0\0\0\0\0",
    b"II*\0\x08\0\0\0\x01\0\x12\x01\x04\0\xff\xff\xff\xff\x06\0\0\0\0\0\0\0",
    b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x05\0\0\0\x1aabcd\0",
    b"II*\0\xff\xff\xff\x7f",
    b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0",
    b"II+\0\x08\0\0\0",
    b"II*\0\x08\0\0\0\xff\xff",
    b"",
    b"\xff" * 64,
    b"x" * 60_000,
)
"""Orientations that are none, of a wrong type, behind the end, in a circle."""
PROFILES = (b"", b"x", b"\0" * 128, b"\xff" * 200, b"x" * 2_000_000)


def in_png(data: bytes, chance: random.Random) -> bytes:
    """A chunk changed with its checksum, added, moved, twice or away."""
    chunks, place = [], 8
    while place + 12 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    turn, where = chance.random(), chance.randrange(len(chunks))
    if turn < 0.3:
        kind, content = chunks[0]
        form, offset = chance.choice(((">I", 0), (">I", 4), (">B", 8), (">B", 9), (">B", 10), (">B", 11), (">B", 12)))
        value = chance.choice((*NUMBERS, 1, 2, 3, 4, 6, 16, 50_000)) % 2 ** (8 * struct.calcsize(form))
        content = bytearray(content)
        struct.pack_into(form, content, offset, value)
        chunks[0] = (kind, bytes(content))
    elif turn < 0.75:
        chunks.insert(chance.choice((1, 1, where, len(chunks) - 1)), chance.choice(_png_chunks(chance)))
    elif turn < 0.85:
        chunks.insert(chance.randrange(len(chunks)), chunks[where])
    elif turn < 0.93:
        del chunks[where]
    else:
        kind, content = chunks[where]
        chunks[where] = (kind, field(content, chance) if content else b"x")
    parts = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    return data[:8] + b"".join(parts)


def _png_chunks(chance: random.Random) -> list[tuple[bytes, bytes]]:
    return [
        (b"iCCP", b"a\0\0" + BOMB),
        (b"iCCP", b"a\0\0" + zlib.compress(chance.choice(PROFILES))),
        (b"iCCP", b"a\0\x05x"),
        (b"zTXt", b"a\0\0" + BOMB),
        (b"iTXt", b"a\0\x01\0\0\0" + BOMB),
        (b"tEXt", b"\x1b[2J\0" + b"x" * 2_000_000),
        (b"eXIf", chance.choice(EXIF)),
        (b"tRNS", chance.choice((b"", b"\0", b"\0" * 6, b"\0" * 300))),
        (b"PLTE", chance.choice((b"", b"\0" * 4, b"\0" * 900))),
        (b"acTL", struct.pack(">2I", chance.choice((0, 1, 2**31)), 0)),
        (b"fcTL", struct.pack(">5I2H2B", 0, 2**31, 2**31, 5, 5, 0, 0, 9, 9)),
        (b"fdAT", b"\0\0\0\x01x"),
        (b"gAMA", b"\0\0\0\0"),
        (b"pHYs", b"\xff" * 9),
        (b"IDAT", BOMB),
        (b"IEND", b""),
        (b"IHDR", struct.pack(">2I5B", 1, 1, 8, 2, 0, 0, 0)),
        (b"XXXX", b"\0"),
    ]


def in_jpeg(data: bytes, chance: random.Random) -> bytes:
    """A segment added, its length wrong, or the frame's size, components or tables changed."""
    turn = chance.random()
    if turn < 0.5:
        marker, content = chance.choice(
            (
                (0xE1, b"Exif\0\0" + chance.choice(EXIF)),
                (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta " + b"<a>" * 9000),
                (0xE2, b"ICC_PROFILE\0\x01\xff" + b"x" * 500),
                (0xE2, b"ICC_PROFILE\0\x00\x00" + b"x" * 500),
                (
                    0xE2,
                    b"MPF\0II*\0\x08\0\0\0\x03\0\x00\xb0\x07\0\x04\0\0\x000100\x01\xb0\x04\0\x01\0\0\0\xff\xff\xff\x7f",
                ),
                (0xED, b"Photoshop 3.0\08BIM\x04\x04\xff\xff\xff\xff"),
                (0xEE, b"Adobe\0\x64\0\0\0\0\x02"),
                (0xFE, b"\x1b[2J" * 1000),
                (0xDD, b"\xff\xff"),
            )
        )
        return data[:2] + struct.pack(">BBH", 0xFF, marker, len(content[:65_533]) + 2) + content[:65_533] + data[2:]
    places = [
        i
        for i in range(2, len(data) - 9)
        if data[i] == 0xFF and data[i + 1] in (*range(0xC0, 0xD0), *range(0xDA, 0xE3))
    ]
    place, result = chance.choice(places), bytearray(data)
    if turn < 0.75:
        frame = next((i for i in places if data[i + 1] in (0xC0, 0xC2)), place)
        form, offset = chance.choice(((">B", 4), (">H", 5), (">H", 7), (">B", 9), (">B", 11), (">B", 14)))
        struct.pack_into(form, result, frame + offset, chance.choice((0, 1, 2, 4, 12, 16, 0x44, 0xFF)) % 256)
        if form == ">H" and chance.random() < 0.5:
            struct.pack_into(">H", result, frame + offset, 65_500)
    elif turn < 0.9:
        struct.pack_into(">H", result, place + 2, chance.choice((0, 1, 2, 3, 17, 65_535)))
    else:
        result[place + 1] = chance.choice((0xC1, 0xC3, 0xC9, 0xD8, 0xD9, 0xDA, 0x01))
    return bytes(result)


TAGS = (254, 256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 282, 284, 305, 317, 320, 322, 323, 324, 330, 338, 339)
TAGS = (*TAGS, 347, 700, 33723, 34377, 34665, 34675, 34853)


def in_tiff(data: bytes, chance: random.Random) -> bytes:
    """An entry of the first directory: its tag, type, count or value; or the place of a directory."""
    order = "<" if data[:2] == b"II" else ">"
    start = struct.unpack_from(f"{order}I", data, 4)[0]
    count = struct.unpack_from(f"{order}H", data, start)[0]
    result, entry = bytearray(data), start + 2 + 12 * chance.randrange(count)
    turn = chance.random()
    if turn < 0.15:
        struct.pack_into(f"{order}H", result, entry, chance.choice(TAGS))
    elif turn < 0.3:
        struct.pack_into(f"{order}H", result, entry + 2, chance.choice((0, 1, 2, 3, 4, 5, 7, 11, 12, 13, 16, 99)))
    elif turn < 0.5:
        struct.pack_into(f"{order}I", result, entry + 4, chance.choice((0, 1, 3, 2**16, 2**28, 2**31, 2**32 - 1)))
    elif turn < 0.9:
        value = chance.choice(
            (0, 1, 2, 3, 4, 5, 7, 8, 16, 32, 64, 2**15, 30_000, 2**31, 2**32 - 1, 32_773, 50_000, start)
        )
        struct.pack_into(f"{order}I", result, entry + 8, value)
    elif turn < 0.95:
        struct.pack_into(f"{order}I", result, start + 2 + 12 * count, chance.choice((start, 8, len(data), 2**32 - 1)))
    else:
        struct.pack_into(f"{order}H", result, start, chance.choice((0, 1, 60_000, 65_535)))
    return bytes(result)


def in_riff(data: bytes, chance: random.Random) -> bytes:
    """A chunk of a WebP added, or a size of one changed."""
    if chance.random() < 0.6:
        kind, content = chance.choice(
            (
                (b"EXIF", chance.choice(EXIF)),
                (b"ICCP", chance.choice(PROFILES)),
                (b"XMP ", b"<a>" * 9000),
                (b"ANIM", b"\0" * 6),
                (b"ANMF", b"\xff" * 16),
                (b"ALPH", b"\xff" * 50),
                (b"VP8X", bytes((0x3E, 0, 0, 0)) + b"\xff" * 6),
            )
        )
        chunk = kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
        body = data[8:12] + chunk + data[12:] if chance.random() < 0.5 else data[8:] + chunk
        return b"RIFF" + struct.pack("<I", len(body)) + body
    result = bytearray(data)
    struct.pack_into(
        "<I", result, chance.choice((4, 16, 20, 24, 26)), chance.choice((0, 1, 2**24 - 1, 2**31, 2**32 - 1))
    )
    return bytes(result)


def in_gif(data: bytes, chance: random.Random) -> bytes:
    """The sizes of the screen and of frames, extensions, and places of codes."""
    result = bytearray(data)
    form, value = chance.choice(
        (("<H", chance.choice((0, 1, 9000, 30_000, 65_535))), ("<B", chance.choice((0, 0x80, 0xFF, 12))))
    )
    frame = data.find(b",")
    struct.pack_into(
        form, result, chance.choice((6, 8, 10, 11, frame + 1, frame + 5, frame + 7, frame + 9, frame + 10)), value
    )
    if chance.random() < 0.3:
        extension = chance.choice(
            (b"!\xfe" + b"\xff" + b"x" * 255 + b"\0", b"!\xf9\x04\xff\xff\xff\xff\0", b"!\xff\x0bNETSCAPE2.0\x03")
        )
        result[13:13] = extension
    return bytes(result)


def in_bmp(data: bytes, chance: random.Random) -> bytes:
    """A field of the header."""
    result = bytearray(data)
    form, offset = chance.choice(
        (("<I", 10), ("<I", 14), ("<i", 18), ("<i", 22), ("<H", 26), ("<H", 28), ("<I", 30), ("<I", 46))
    )
    value = chance.choice((0, 1, 2, 3, 4, 8, 12, 16, 24, 32, 40, 64, 108, 124, 30_000, 2**31 - 1))
    struct.pack_into(form, result, offset, value % 2**15 if form == "<H" else value)
    return bytes(result)
