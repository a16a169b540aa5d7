"""Changes of archives and of weights: ZIP, safetensors, PyTorch's checkpoints, TAR."""

import io
import json
import random
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .arrays import in_npy
from .mutations import NUMBERS, VALUES, cut, field, flip, flip_head, json_value, number_in_text, splice

LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
NAMES = ("/../x", "../../x", "/etc/passwd", "C:\\x", ".x", "\x1b[2J", "\n", "a" * 300, ".JSON", "", "\0")


def in_archive(data: bytes, chance: random.Random) -> bytes:
    """An entry of a ZIP changed, renamed, twice, nested or away; the archive itself is whole."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(info.filename, archive.read(info), info.compress_type) for info in archive.infolist()]
    place = chance.randrange(len(entries))
    json_entries = [i for i, (name, _, _) in enumerate(entries) if name.endswith(("json", "metamixer"))]
    if json_entries and chance.random() < 0.6:
        place = chance.choice(json_entries)
    name, content, packing = entries[place]
    turn = chance.random()
    if turn < 0.65 and content:
        blind = (flip, flip_head, cut, splice, field)
        change = json_value if place in json_entries else in_npy if name.endswith(".npy") else chance.choice(blind)
        entries[place] = (name, change(content, chance), packing)
    elif turn < 0.8:
        entries[place] = (chance.choice((name, "")) + chance.choice(NAMES), content, packing)
    elif turn < 0.88:
        entries.insert(chance.randrange(len(entries)), (name, chance.choice((content, b"", entries[0][1])), packing))
    elif turn < 0.92:
        entries[place] = (name, data, packing)
    elif turn < 0.96:
        entries[place] = (name, bytes(chance.choice((1000, 2**26))), zipfile.ZIP_DEFLATED)
    else:
        del entries[place]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content, packing in entries:
            archive.writestr(zipfile.ZipInfo(name), content, packing)
    return file.getvalue()


def zip_records(data: bytes, chance: random.Random) -> bytes:
    """A field of a ZIP's own records: flags, packing, sizes, offsets, in one of them or in both."""
    result = bytearray(data)
    signature, fields = chance.choice(
        (
            (LOCAL, {"<H": (4, 6, 8, 26, 28), "<I": (14, 18, 22)}),
            (CENTRAL, {"<H": (8, 10, 28, 30, 32, 34), "<I": (16, 20, 24, 38, 42)}),
            (END, {"<H": (4, 6, 8, 10, 20), "<I": (12, 16)}),
        )
    )
    places = [place for place in range(len(data) - 4) if data.startswith(signature, place)]
    place, form = chance.choice(places), chance.choice(tuple(fields))
    value = chance.choice((*NUMBERS, 0xFFFF, 0xFFFFFFFF, 8, 12, 99, 1))
    struct.pack_into(form, result, place + chance.choice(fields[form]), value % 2 ** (8 * struct.calcsize(form)))
    return bytes(result)


def in_safetensors(data: bytes, chance: random.Random) -> bytes:
    """The header of tensors: types, shapes, places, names; the metadata; or the weights."""
    size = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + size]), bytearray(data[8 + size :])
    turn, tensors = chance.random(), [name for name in header if name != "__metadata__"]
    about = header[chance.choice(tensors)]
    if turn < 0.5:
        about = json_value(header["__metadata__"]["metamixer"].encode(), chance)
        header["__metadata__"]["metamixer"] = about.decode("utf-8", "replace")
    elif turn < 0.6:
        about["shape"] = chance.choice(([2**40, 2**40], [10**12], [], [0], [-1], about["shape"][::-1], [1] * 400))
    elif turn < 0.7:
        first, last = about["data_offsets"]
        spoiled = ([0, len(body)], [last, first], [first, 2**63], [first + 1, last + 1], [0, last - first])
        about["data_offsets"] = chance.choice(spoiled)
    elif turn < 0.76:
        about["dtype"] = chance.choice(("F64", "F16", "I8", "BOOL", "U64", "F8_E4M3", "X", "C64", "BF16"))
    elif turn < 0.86:
        first = about["data_offsets"][0]
        body[first : first + 4] = struct.pack("<f", chance.choice((float("nan"), float("inf"), 1e38, -1e38)))
    elif turn < 0.92:
        header[chance.choice(NAMES) + "a"] = header.pop(chance.choice(tensors))
    packed = json.dumps(header).encode()
    if turn >= 0.97:
        packed = packed.replace(b"{", b'{"' + tensors[0].encode() + b'": {}, ', 1)
    length = len(packed) if turn < 0.99 else chance.choice((2**40, 2**63, 100, 0))
    return length.to_bytes(8, "little") + packed + (bytes(body) if turn < 0.92 or turn >= 0.95 else b"")


def in_checkpoint(data: bytes, chance: random.Random) -> bytes:
    """A value of a checkpoint by one of another type, and tensors that are larger than what holds them."""
    content = torch.load(io.BytesIO(data), weights_only=True)
    places = list(_places(content))
    tensors = [(holder, key) for holder, key in places if isinstance(holder[key], Tensor)]
    plain = [place for place in places if place not in tensors]
    if tensors and (not plain or chance.random() < 0.4):
        holder, key = chance.choice(tensors)
        holder[key] = _strange(holder[key], chance)
    else:
        holder, key = chance.choice(plain)
        value = chance.choice((*VALUES, torch.zeros(2), torch.tensor(float("nan"))))
        if isinstance(holder, dict) and chance.random() < 0.15:
            holder[chance.choice((0, "", "\x1b[2J", None, (1, 2)))] = holder.pop(key)
        elif isinstance(holder, list | dict):
            holder[key] = value
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def _places(content: Any, level: int = 0):
    if isinstance(content, Mapping | list) and level < 12:
        for key, value in list(content.items() if isinstance(content, Mapping) else enumerate(content)):
            yield content, key
            yield from _places(value, level + 1)


def _strange(tensor: Tensor, chance: random.Random) -> Tensor:
    """A tensor of another size, type or layout."""
    huge = torch.zeros(1).expand(10**10)
    return chance.choice(
        (
            tensor.double() * float("nan"),
            tensor.to(torch.complex64),
            tensor.bool(),
            tensor.to(torch.int64),
            tensor.flatten()[:1].clone(),
            torch.zeros(0),
            huge,
            torch.zeros(1).expand(10**5, 10**5, 1, 1),
            tensor.flatten()[:1].expand(tensor.shape),
            torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1), (2**40,)),
            torch.eye(3).to_sparse_csr(),
            torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.quint8),
            torch.empty(10**6, 10**6, device="meta"),
            torch.nn.Parameter(torch.zeros(3)),
            tensor[None] if tensor.ndim else tensor,
        )
    )


def in_tar(data: bytes, chance: random.Random) -> bytes:
    """A member's name, size, kind or contents."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = [(member, archive.extractfile(member).read()) for member in archive.getmembers()]
    place = chance.randrange(len(members))
    member, content = members[place]
    turn = chance.random()
    if turn < 0.4:
        change = number_in_text if member.name.endswith((".cls", ".json")) else chance.choice((flip, flip_head, cut))
        content = chance.choice(
            (b"", b"-1", b"9" * 5000, b"{}", b"[" * 9999, b'{"label": null}', change(content, chance))
        )
    elif turn < 0.6:
        member.name = chance.choice((*NAMES, "000.cls", "000.jpg", "001")) or "x"
    elif turn < 0.75:
        member.type = chance.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, b"S", b"L"))
    elif turn < 0.85:
        member.pax_headers = {
            chance.choice(("size", "path", "GNU.sparse.realsize")): chance.choice(("-1", "9" * 30, "x"))
        }
    elif turn < 0.92:
        members.append((member, content))
    member.size = len(content)
    members[place] = (member, content)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    result = bytearray(file.getvalue())
    if turn >= 0.92:  # the size in the header, in octal or in base 256
        result[124:136] = chance.choice((b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"-0000000001\0"))
    return bytes(result)
