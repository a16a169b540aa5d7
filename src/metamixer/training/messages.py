"""The parser's messages about wrong options, shortened to one line about the option that the user typed."""

import re
from collections.abc import Iterable
from importlib import import_module
from inspect import Parameter, signature

from ..errors import did_you_mean

NO_OPTION = re.compile(r"unrecognized arguments: (--[\w.]+)", re.IGNORECASE)
NO_KEYWORD = re.compile(
    r"class_path '([\w.]+)': (?:Option '([\w.]+)' is not accepted|unrecognized arguments: --([\w.]+))"
)
KEY = re.compile(r'Parser key "([\w.]+)"')
WRONG_VALUE = re.compile(r"Subtypes: \[(.*?)\] Errors: .*Given value: ?(.*)$")
ONE_KIND = re.compile(r"Expected a (<class '\w+'>)\. Got value: ?(.*)$")
LITERAL = re.compile(r"typing\.Literal\[(.*)\]")
KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}
"""How messages call the types of options."""


def plain(message: str, options: Iterable[str]) -> str:
    """The message about the option only, with the nearest of `options`; other messages unchanged."""
    message = " ".join(message.split())
    key, keyword = KEY.search(message), NO_KEYWORD.search(message)
    value = WRONG_VALUE.search(message) or ONE_KIND.search(message)
    if key and keyword:
        path, name = keyword[1], keyword[2] or keyword[3]
        meant = did_you_mean(name, _keywords(path), prefix=f"--{key[1]}.")
        return f"{key[1]}.{name}: {path.rpartition('.')[2]} has no such option{meant}"
    if key and value and "class_path" not in message:
        kinds = re.findall(r"<class '([\w.]+)'>|([\w.]+\[[^]]*\])", value[1])
        names = [KINDS.get(kind, kind) or LITERAL.sub(_one_of, other) for kind, other in kinds if kind != "NoneType"]
        return f"{key[1]} {value[2]!r}, expected {' or '.join(names)}"
    option = NO_OPTION.search(message)
    if option:
        return f"{option[1]}: no such option{did_you_mean(option[1], options)}"
    return message


def _one_of(literal: re.Match[str]) -> str:
    return "one of " + literal[1].replace("'", "")


def _keywords(path: str) -> list[str]:
    module, _, name = path.rpartition(".")
    bases = getattr(import_module(module), name).__mro__  # constructors pass `**settings` on to their parent's
    found = (parameter for base in bases for parameter in signature(base).parameters.values())
    return [each.name for each in found if each.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)]
