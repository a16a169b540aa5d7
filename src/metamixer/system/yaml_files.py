"""YAML files: of a bounded size, without code, and in a message that names them where they can't be read."""

from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError, first_line
from .files import refuse_special

MAX_BYTES = 4 * 2**20
INTEGER, MAX_DIGITS = "tag:yaml.org,2002:int", 400
MAX_NODES = 500_000
"""Values in a file when its references (`*name`) are written out."""


def read_yaml(path: Path, *, expected: str = "a YAML file") -> Any:
    """What a file holds; raises InputError that names it where it isn't YAML of a usual size in UTF-8."""
    refuse_special(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(f"{path}: more than {MAX_BYTES} bytes, expected {expected}")
        text = content.decode("utf-8")
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _count(node, {}) > MAX_NODES:
                raise InputError(f"{path}: more than {MAX_NODES} values with its references, expected {expected}")
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error}), expected {expected}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8, expected {expected}") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deep, expected {expected}") from None
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f"line {place.line + 1}: " if place else ""
        problem = getattr(error, "problem", None) or first_line(error)
        raise InputError(f"{path}: not readable as YAML ({where}{problem}), expected {expected}") from None
    except Exception as error:  # of dates, numbers and keys that Python refuses
        raise InputError(f"{path}: not readable as YAML ({first_line(error)}), expected {expected}") from None


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Values below a node, those that are referred to again and again counted each time."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = MAX_NODES + 1  # met again within itself: without end
    if node.tag == INTEGER and len(node.value) > MAX_DIGITS:  # Python computes with it but can't show it
        raise yaml.YAMLError(f"a number of {len(node.value)} digits")
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    known[id(node)] = min(1 + sum(_count(child, known) for child in children), MAX_NODES + 1)
    return known[id(node)]
