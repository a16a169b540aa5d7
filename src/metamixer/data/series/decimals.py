"""Decimal commas or points of text tables: 1.234 and 1,234 have two readings, which the other numbers may tell."""

import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ...errors import InputError, InputWarning
from .dates import import_pandas, shown

if TYPE_CHECKING:
    import pandas

OTHER = {",": ".", ".": ","}
"""The separator of thousands by that of decimals."""

NUMBER = {
    decimal: rf"\s*[+-]?(?:(?:[1-9]\d{{0,2}}(?:[{thousands}]\d{{3}})+|\d+)(?:[{decimal}]\d*)?|[{decimal}]\d+)"
    r"(?:[eE][+-]?\d+)?\s*"
    for decimal, thousands in OTHER.items()
}
"""Numbers by the separator of their decimals."""


def with_decimals(points: "pandas.DataFrame", commas: "pandas.DataFrame", names: Iterable[Any]) -> "pandas.DataFrame":
    """These columns of a text table as their numbers tell; it was read twice, with decimal points and with commas."""
    numeric, texts = import_pandas().api.types.is_numeric_dtype, {}
    for name in names:
        if not (numeric(points[name]) and numeric(commas[name])):
            texts[name] = commas[name] if numeric(points[name]) else points[name]
    result = points.copy(deep=False)
    for name, decimal in decimals_of(texts).items():
        read = (points if decimal == "." else commas)[name]
        result[name] = read if numeric(read) else numeric_if_all(plain_numbers(texts[name], decimal))
    return result


def numeric_if_all(text: "pandas.Series") -> "pandas.Series":
    """Numbers, unless some text is none."""
    values = import_pandas().to_numeric(text, errors="coerce")
    return values if (values.notna() == text.notna()).all() else text


class Numbers:
    """The numbers of a column that comes in parts: the first with a comma or point decide for all."""

    def __init__(self, name: str):
        self.name, self.decimal = name, ""

    def read(self, text: "pandas.Series") -> "pandas.Series":
        """Numbers for text, whose index numbers the rows from 0; raises InputError that names one of both readings."""
        self.decimal = self.decimal or decimals_of({self.name: text}).get(self.name, "")
        return plain_numbers(text, self.decimal) if self.decimal else text


def decimals_of(columns: "Mapping[Any, pandas.Series]") -> dict[Any, str]:
    """The decimal separator of each column of text that has numbers with commas or points.

    A number such as 1.234 means what the others of its column tell, else those of the table; if these don't, the mark
    is that of decimals, with a warning. Raises InputError that names the number if the others disagree.
    """
    told, unclear = {}, {}
    for name, text in columns.items():
        comma, point = fits(text)
        of_comma, of_point = (comma & ~point).any(), (point & ~comma).any()
        if of_comma or of_point:
            told[name] = "," if of_comma else "."
            if of_comma and of_point:
                plain_numbers(text, told[name])  # raises
        elif len(unsure := text[comma & point & text.str.contains("[.,]", na=False)]):
            unclear[name] = unsure
    kinds = set(told.values())
    marks = kinds or {mark for text in unclear.values() for mark in OTHER if text.str.contains(mark, regex=False).any()}
    for name, text in unclear.items():
        told[name] = decimal = min(marks)
        one, other = (plain_numbers(text[:1], mark).iloc[0] for mark in (decimal, OTHER[decimal]))
        if len(marks) > 1:
            raise InputError(f"{place(text)} is {one} or {other}, and the table has decimal commas and decimal points")
        if not kinds:
            how = f"{place(text)} read as {one}, not as {other}; expected numbers without separators of thousands"
            warnings.warn(how, InputWarning, stacklevel=2)
    return told


def plain_numbers(text: "pandas.Series", decimal: str) -> "pandas.Series":
    """Numbers as Python writes them; other text stays. Raises InputError that names a number of the other kind."""
    comma, point = fits(text)
    right, against = (comma, point & ~comma) if decimal == "," else (point, comma & ~point)
    if against.any():
        kind = "comma" if decimal == "," else "point"
        raise InputError(f"{place(text[against])}, expected a decimal {kind} as in other numbers of the column")
    plain = text.str.replace(OTHER[decimal], "", regex=False).str.replace(decimal, ".", regex=False)
    return text.where(~right, plain)


def fits(text: "pandas.Series") -> "tuple[pandas.Series, pandas.Series]":
    """Whether each is a number with a decimal comma, and whether with a decimal point."""
    return tuple(text.str.fullmatch(NUMBER[decimal], na=False) for decimal in (",", "."))


def place(text: "pandas.Series") -> str:
    """Describe the first value of a column for messages."""
    return f"column {text.name!r}, row {text.index[0] + 1}: {shown(text.iloc[0])}"
