"""A .pt2 file, read by a parser of our own before PyTorch sees it, because `torch.export.load` runs what a file says.

Only the entries and the grammar that `metamixer export` writes pass: operators of ATen, sizes as sums and products,
tensors as plain bytes. What passed is written anew, so that PyTorch reads nothing that this parser didn't.
"""

import io
import json
import math
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError

MAX_ENTRIES = 20_000
MAX_JSON = 64 * 2**20
MAX_EXPRESSION = 4_000
MAX_EXPRESSIONS = 4_000
MAX_DEPTH = 40
LARGEST = 2**63

GRAPH, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"
CONSTANTS, SAMPLE = "data/constants/model_constants_config.json", "data/sample_inputs/model.pt"
PLAIN = ("archive_format", "archive_version", "byteorder", ".data/version", ".data/serialization_id", SAMPLE)
PAYLOAD = re.compile(r"data/(weights/weight|constants/tensor)_\d+")

WORDS = """
arg as_bool as_bools as_device as_expr as_float as_floats as_graph as_int as_ints as_layout as_memory_format as_name
as_none as_optional_tensors as_scalar_type as_string as_sym_bool as_sym_float as_sym_int as_sym_ints as_tensor
as_tensors buffer buffer_name config custom_obj_values device dtype expr_str forward_arg_names fqn graph
graph_module guards_code hint in_spec index input_specs inputs is_hop_single_tensor_return is_param
is_single_tensor_return kind layout major max_val metadata min_val minor module_call_graph name nodes opset_version
out_spec output_specs outputs parameter parameter_name path_name persistent range_constraints requires_grad
schema_version signature sizes storage_offset strides sym_bool_values sym_float_values sym_int_values target
tensor_constant tensor_constant_name tensor_meta tensor_values torch_version treespec_namedtuple_fields type
use_pickle user_input user_output verifiers
"""
FIELDS = frozenset(WORDS.split())
"""The words of PyTorch's schema that `export` writes; another one with something in it is refused."""
BY_NAME = (
    "config",
    "opset_version",
    "range_constraints",
    "tensor_values",
    "sym_bool_values",
    "sym_float_values",
    "sym_int_values",
)
"""Fields whose keys are names that the network gave."""
LEFT_OUT = {"metadata": {}, "guards_code": []}
"""Fields that PyTorch can do without and takes for code or for the names of functions, with what they become."""
EMPTY = ("custom_obj_values", "treespec_namedtuple_fields", "use_pickle")
"""Fields that lead to objects; `export` writes them empty or false."""

PYTHON = """
_operator.add _operator.sub _operator.mul _operator.floordiv _operator.truediv _operator.mod _operator.neg _operator.eq
_operator.ne _operator.lt _operator.le _operator.gt _operator.ge _operator.getitem torch.sym_max torch.sym_min
torch.sym_float torch.sym_not torch.ops.higher_order.wrap_with_set_grad_enabled
torch.ops.higher_order.wrap_with_autocast
"""
PYTHON_TARGETS = frozenset(PYTHON.split())
ATEN = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")
UNDERSCORED = ("__and__", "__or__", "__xor__", "_assert_tensor_metadata", "_assert_scalar", "_to_copy")
UNSAFE = ("from_file", "set_", "set_data", "resize_", "resize_as_", "as_strided", "as_strided_", "record_stream")
"""Operators that reach files, or memory beyond a tensor's own."""

SYMPY = """
Symbol Integer Rational Add Mul Pow PowByNatural Max Min FloorDiv CleanDiv CeilDiv Mod PythonMod ModularIndexing
Where Eq Equality Ne Unequality Lt StrictLessThan Le LessThan Gt StrictGreaterThan Ge GreaterThan And Or Not
Identity ToFloat IntTrueDiv TruncToInt FloorToInt CeilToInt
"""
FUNCTIONS = frozenset(SYMPY.split())
POWERS = ("Pow", "PowByNatural")
TOKEN = re.compile(r"\s*(?:(?P<name>[A-Za-z]+)|(?P<number>-?\d{1,18})|(?P<text>'[a-z]+\d{1,6}')|(?P<mark>[(),=]))")
NAME = re.compile(r"[\w.\-]{0,512}", re.ASCII)
TEXT = re.compile(r"[\w.,+:>\- ]{0,512}", re.ASCII)
TREE_TYPES = (None, "builtins.tuple", "builtins.list", "builtins.dict")
TREE_CONTEXTS = (None, "null", "[]")


def read_safely(path: Path, extra: str) -> tuple[io.BytesIO, str]:
    """The archive that PyTorch may load, and the text of its extra file; raises InputError that names the file."""
    try:
        entries = _entries(path, f"extra/{extra}")
        graph, weights, constants = (_json(entries, name) for name in (GRAPH, WEIGHTS, CONSTANTS))
        known: set[str] = set()
        checked = {
            GRAPH: _clean(graph, "", known, 0),
            WEIGHTS: _payloads(weights, entries, "data/weights/"),
            CONSTANTS: _payloads(constants, entries, "data/constants/"),
        }
        return _written(entries, checked), entries.get(f"extra/{extra}", b"").decode()
    except _RefusedError as error:
        raise InputError(f"{path}: holds {error}, expected a graph and its weights: not loaded") from None
    except Exception as error:
        raise InputError(
            f"{path}: not a readable program ({type(error).__name__}): truncated, or another kind of file"
        ) from None


class _RefusedError(Exception):
    """Something that `export` doesn't write."""


def _refuse_unless(holds: object, what: str) -> None:
    if not holds:
        raise _RefusedError(what)


def _entries(path: Path, extra: str) -> dict[str, bytes]:
    """The contents by name, without the folder that all of them are in."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        _refuse_unless(len(infos) <= MAX_ENTRIES, f"{len(infos)} entries")
        _refuse_unless(sum(info.file_size for info in infos) <= size, "more bytes than the file has")
        entries: dict[str, bytes] = {}
        for info in infos:
            root, _, name = info.filename.partition("/")
            stored = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1
            known = name in (GRAPH, WEIGHTS, CONSTANTS, *PLAIN, extra) or PAYLOAD.fullmatch(name)
            _refuse_unless(stored and known and name not in entries, f"the entry {info.filename[:80]!r}")
            _refuse_unless(root == infos[0].filename.partition("/")[0], f"the folder {root[:80]!r}")
            entries[name] = archive.read(info)
    _refuse_unless(not entries.get(SAMPLE), "sample inputs")
    return entries


def _json(entries: Mapping[str, bytes], name: str) -> Any:
    _refuse_unless(len(entries[name]) <= MAX_JSON, f"{len(entries[name])} bytes of JSON")
    return json.loads(entries[name])


def _clean(value: Any, field: str, known: set[str], depth: int) -> Any:
    """The same value without what PyTorch can do without; known: expressions that were checked before."""
    _refuse_unless(depth <= MAX_DEPTH, f"{depth} levels")
    if field in EMPTY:
        _refuse_unless(not value, f"{field}")
    if isinstance(value, dict):
        if field in BY_NAME:
            _refuse_unless(all(map(_is_name, value)), f"names in {field} that are none")
            return {name: _clean(item, "", known, depth + 1) for name, item in value.items()}
        strange = [key for key in value if key not in FIELDS and value[key]]
        _refuse_unless(not strange, f"{strange[:1]}")
        return {
            key: LEFT_OUT.get(key) if key in LEFT_OUT else _clean(item, key, known, depth + 1)
            for key, item in value.items()
            if key in FIELDS
        }
    if isinstance(value, list):
        return [_clean(item, field, known, depth + 1) for item in value]
    if isinstance(value, str) and value not in known:
        _refuse_unless(TEXT_RULES.get(field, _is_name)(value), f"{field} {value[:80]!r}")
        if field == "expr_str":
            known.add(value)
            _refuse_unless(len(known) <= MAX_EXPRESSIONS, f"{len(known)} expressions")
    if isinstance(value, int):
        _refuse_unless(-LARGEST <= value < LARGEST, f"{field} {str(value)[:80]}")
    return value


def _is_name(text: str) -> bool:
    return NAME.fullmatch(text) is not None and not any(
        part.startswith("__") and part.endswith("__") for part in text.split(".")
    )


def _is_target(text: str) -> bool:
    """Whether a node calls an operator that only computes with the tensors that it is given."""
    found = ATEN.fullmatch(text)
    if not found:
        return text in PYTHON_TARGETS
    name, overload = found.groups()
    public = (not name.startswith("_") or name in UNDERSCORED) and name not in UNSAFE
    return public and overload in getattr(getattr(torch.ops.aten, name, None), "overloads", list)()


def _is_expression(text: str) -> bool:
    """Whether a size is made of sums, products, small powers and the like, as sympy writes them: Mul(Integer(2), ...).

    A power of a power is refused, because its value can be too long to compute.
    """
    if len(text) > MAX_EXPRESSION:
        return False
    tokens, place = [], 0
    while place < len(text):
        found = TOKEN.match(text, place)
        if not found:
            return False
        tokens.append((found.lastgroup, found[found.lastgroup]))
        place = found.end()
    try:
        return _after_call(tokens, 0, powers=0, depth=0) == len(tokens)
    except (IndexError, _RefusedError):
        return False


def _after_call(tokens: list[tuple[str, str]], place: int, *, powers: int, depth: int) -> int:
    """The place after NAME(ARGUMENT, ...), where every argument is a call, a number, a symbol's name or KEY=True."""
    (kind, name), opening = tokens[place], tokens[place + 1]
    powers += name in POWERS
    _refuse_unless(
        kind == "name" and name in FUNCTIONS and opening[1] == "(" and powers < 2 and depth < MAX_DEPTH, name
    )
    place += 2
    while tokens[place][1] != ")":
        kind, word = tokens[place]
        if kind == "name" and tokens[place + 1][1] == "=":
            _refuse_unless(name == "Symbol" and tokens[place + 2][1] in ("True", "False"), word)
            place += 3
        elif kind == "name" and word not in ("true", "false"):
            place = _after_call(tokens, place, powers=powers, depth=depth + 1)
        else:
            _refuse_unless(kind != "mark" and (kind == "text") == (name == "Symbol"), word)
            _refuse_unless(kind != "number" or name in ("Integer", "Rational"), word)
            place += 1
        if tokens[place][1] == ",":
            place += 1
        else:
            _refuse_unless(tokens[place][1] == ")", word)
    if name in POWERS:  # NAME(BASE, Integer(EXPONENT)): the exponent comes last
        exponent = tokens[place - 2]
        _refuse_unless(
            tokens[place - 4][1] == "Integer" and exponent[0] == "number" and abs(int(exponent[1])) <= 8, name
        )
    return place + 1


def _is_tree(text: str) -> bool:
    """Whether a description of nested arguments holds tuples, lists and dictionaries alone."""

    def plain(node: Any) -> bool:
        return (
            isinstance(node, dict)
            and node["type"] in TREE_TYPES
            and node["context"] in TREE_CONTEXTS
            and all(map(plain, node["children_spec"]))
        )

    protocol, tree = json.loads(text)
    return protocol == 1 and plain(tree)


TEXT_RULES: dict[str, Callable[[str], bool]] = {
    "target": _is_target,
    "expr_str": _is_expression,
    "in_spec": _is_tree,
    "out_spec": _is_tree,
    "torch_version": lambda text: TEXT.fullmatch(text) is not None,
    "as_string": lambda text: TEXT.fullmatch(text) is not None,
    "as_float": lambda text: text in ("Infinity", "-Infinity", "NaN"),
}
"""What a field's text must be, where it isn't a name."""


def _payloads(config: Any, entries: Mapping[str, bytes], folder: str) -> Any:
    """The table of tensors, each of which lies within the bytes of its entry."""
    from torch._export.serde.serialize import _SERIALIZE_TO_TORCH_DTYPE as DTYPES

    config = _clean(config, "", set(), 0)
    for name, payload in config["config"].items():
        about = payload["tensor_meta"]
        sizes, strides = ([size["as_int"] for size in about[key]] for key in ("sizes", "strides"))
        offset, count = about["storage_offset"]["as_int"], math.prod(sizes)
        content = entries[folder + payload["path_name"]]
        there = len(content) // DTYPES[about["dtype"]].itemsize
        inside = min([offset, *sizes, *strides]) >= 0 and len(sizes) == len(strides) and count <= there
        last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
        _refuse_unless(inside and (count == 0 or last < there), f"fewer bytes than {name} needs")
    return config


def _written(entries: Mapping[str, bytes], checked: Mapping[str, Any]) -> io.BytesIO:
    from torch.export.pt2_archive._package import PT2ArchiveWriter

    file = io.BytesIO()
    with PT2ArchiveWriter(file) as archive:
        for name, content in entries.items():
            if name in checked:
                archive.write_string(name, json.dumps(checked[name]))
            elif PAYLOAD.fullmatch(name) or name == SAMPLE or name.startswith("archive_"):
                archive.write_bytes(name, content)
    file.seek(0)
    return file
