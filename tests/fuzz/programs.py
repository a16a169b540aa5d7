"""Changes of exported programs that keep their syntax: PyTorch's graphs, ONNX, OpenVINO's XML."""

import io
import json
import random
import re
import zipfile

from .archives import in_archive
from .mutations import NUMBERS, json_value

SIZES = (0, -1, -(2**31), 2, 3, 7, 31, 1000, 30_000, 2**20, 2**31 - 1, 2**40, 2**62)
OPERATORS = (
    *("add.Tensor", "full.default", "zeros.default", "view.default", "expand.default", "constant_pad_nd.default"),
    *("repeat.default", "index_select.default", "empty.memory_format", "as_strided.default", "arange.default"),
    *("convolution.default", "upsample_nearest2d.vec", "nonzero.default", "cat.default", "mm.default", "set_.default"),
    *("_foreach_add.List", "linspace.default", "eye.default", "randn.default", "select.int", "max_pool2d.default"),
)


def in_pt2(data: bytes, chance: random.Random) -> bytes:
    """A node, an argument, a size or a type in the graph of a .pt2; the archive itself is whole."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    name = next(name for name in entries if name.endswith("models/model.json"))
    graph = json.loads(entries[name])
    nodes = graph["graph_module"]["graph"]["nodes"]
    turn, place = chance.random(), chance.randrange(len(nodes))
    if turn < 0.15:
        other = chance.randrange(len(nodes))
        nodes[place], nodes[other] = nodes[other], nodes[place]
    elif turn < 0.3:
        nodes[place]["target"] = f"torch.ops.aten.{chance.choice(OPERATORS)}"
    elif turn < 0.4:
        nodes.insert(place, nodes[chance.randrange(len(nodes))])
    elif turn < 0.8:
        _number_in_graph(graph, chance)
    else:
        graph = json.loads(json_value(json.dumps(graph).encode(), chance))
    entries[name] = json.dumps(graph).encode()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def _number_in_graph(content: object, chance: random.Random) -> None:
    """Another number, or other numbers, in a place where there is one."""
    places, left = [], [content]
    while left:
        holder = left.pop()
        for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
            if key in ("as_int", "as_ints", "as_float", "dtype", "as_scalar_type", "layout", "storage_offset", "name"):
                places.append((holder, key))
            if isinstance(value, dict | list):
                left.append(value)
    holder, key = chance.choice(places)
    old = holder[key]
    if isinstance(old, list):
        holder[key] = [chance.choice(SIZES) for _ in old] if chance.random() < 0.5 else old * chance.choice((0, 2))
    elif isinstance(old, str):
        holder[key] = chance.choice([holder[key] for holder, key in places if isinstance(holder[key], str)])
    else:
        holder[key] = chance.choice(SIZES)


def in_onnx(data: bytes, chance: random.Random) -> bytes:
    """A node, an attribute, a tensor, an edge or the metadata of an ONNX file."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(data)
    graph = model.graph
    node, tensor = chance.choice(graph.node), chance.choice(graph.initializer or [TensorProto()])
    turn = chance.random()
    if turn < 0.2 and node.attribute:
        attribute = chance.choice(node.attribute)
        if attribute.ints:
            attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(SIZES)
        else:
            attribute.i = chance.choice(SIZES)
    elif turn < 0.3:
        tensor.dims[:] = chance.choice(([2**40], [2**31, 2**31], [-1], [], [0], [*tensor.dims, 1]))
    elif turn < 0.36:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=chance.choice(("/etc/passwd", "../x", "x", "/dev/zero")))
    elif turn < 0.42:
        tensor.data_type = chance.choice((0, 2, 6, 7, 8, 10, 11, 14, 99))
    elif turn < 0.5:
        node.input[0] = chance.choice((node.output[0], "", "missing", "\x1b[2J"))
    elif turn < 0.58:
        node.op_type = chance.choice(
            ("Loop", "If", "Scan", "NonZero", "Expand", "Tile", "Add", "Resize", "Evil", "Gather")
        )
    elif turn < 0.62:
        node.domain = chance.choice(("com.microsoft", "evil", "ai.onnx.ml"))
    elif turn < 0.76:
        _big_constant(graph, node, chance)
    elif turn < 0.8:
        graph.node.append(node)
    elif turn < 0.84:
        model.opset_import[0].version = chance.choice((0, 1, 7, 99, 2**31))
    elif turn < 0.88:
        graph.input[0].type.tensor_type.elem_type = chance.choice((0, 7, 8, 11, 99))
    elif turn < 0.92:
        graph.sparse_initializer.add().dims[:] = [2**40]
    else:
        entry = chance.choice(model.metadata_props)
        entry.value = json_value(entry.value.encode(), chance).decode("utf-8", "replace")
    del helper
    return model.SerializeToString()


def _big_constant(graph, node, chance: random.Random) -> None:
    """A node that makes very many values out of few, in front of another."""
    import numpy as np
    from onnx import helper, numpy_helper

    shape = chance.choice(([2**33], [100_000, 100_000], [2**62], [1, 3, 40_000, 40_000]))
    graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), "big_shape"))
    kind = chance.choice(("ConstantOfShape", "Expand", "Tile", "RandomNormal"))
    if kind == "RandomNormal":
        made = helper.make_node(kind, [], ["big"], shape=shape)
    else:
        given = ["big_shape"] if kind == "ConstantOfShape" else [node.output[0], "big_shape"]
        made = helper.make_node(kind, given, ["big"])
    nodes = [*graph.node]
    del graph.node[:]
    graph.node.extend([made, *nodes] if kind in ("ConstantOfShape", "RandomNormal") else [*nodes, made])
    graph.node.append(helper.make_node("ReduceSum", ["big"], ["small"], keepdims=0))
    graph.node.append(helper.make_node("Add", [graph.output[0].name, "small"], ["changed"]))
    graph.output[0].name = "changed"


def in_xml(data: bytes, chance: random.Random) -> bytes:
    """An attribute, an edge, a layer or an entity of OpenVINO's XML, or the description in it."""
    turn = chance.random()
    if turn < 0.12:
        entities = chance.choice(
            (
                b'<!DOCTYPE a [<!ENTITY b "x"><!ENTITY c SYSTEM "file:///etc/passwd">]>',
                b'<!DOCTYPE a [<!ENTITY a0 "xxxxxxxxxx">'
                + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10))
                + b"]>",
            )
        )
        head, end, rest = data.partition(b"?>")
        return (
            head + end + entities + rest.replace(b'name="', chance.choice((b'name="&c;', b'name="&a9;', b'name="')), 1)
        )
    if turn < 0.2:
        match = chance.choice(list(re.finditer(rb"<(edge|layer)\b.*?(/>|</layer>)", data, re.S)))
        return data[: match.start()] + match[0] * chance.choice((0, 2)) + data[match.end() :]
    if turn < 0.3:
        found = re.search(rb'(<metamixer value=")(.*?)(")', data, re.S)
        if found:
            text = json_value(found[2].replace(b"&quot;", b'"'), chance).replace(b'"', b"&quot;")
            return data[: found.start(2)] + text + data[found.end(2) :]
    numeric = list(re.finditer(rb'(?<=")-?\d+(?:, ?-?\d+)*(?=")|(?<=<dim>)-?\d+', data))
    words = list(re.finditer(rb'(?<=type=")\w+|(?<=element_type=")\w+|(?<=version=")\w+|(?<=auto_pad=")\w+', data))
    match = chance.choice(words if turn < 0.5 and words else numeric)
    kinds = (
        b"f16",
        b"u1",
        b"i64",
        b"string",
        b"dynamic",
        b"Loop",
        b"TensorIterator",
        b"If",
        b"Broadcast",
        b"Result",
        b"Evil",
    )
    value = chance.choice(kinds) if match in words else str(chance.choice((*SIZES, *NUMBERS))).encode()
    return data[: match.start()] + value + data[match.end() :]


PROGRAMS = {".pt2": (in_pt2, in_pt2, in_archive), ".onnx": (in_onnx,), ".xml": (in_xml,)}
"""Suffix -> changes."""
