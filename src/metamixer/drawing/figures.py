"""Figures with matplotlib, imported only for drawing, without pyplot, whose backend and figures are the user's."""

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import InputError
from ..system.files import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(**options: Any) -> "Figure":
    """An empty figure; options: of matplotlib's `Figure`."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("drawing needs matplotlib: pip install 'metamixer[demo]'") from None
    return Figure(**options)


def check_figure_name(path: str | Path) -> None:
    """Raise InputError for a suffix that matplotlib doesn't support."""
    known = new_figure().canvas.get_supported_filetypes()
    if Path(path).suffix[1:].lower() not in known:
        raise InputError(
            f"{path}: expected a name that ends in one of {', '.join(sorted(f'.{name}' for name in known))}"
        )


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Write a figure atomically, in the format of its suffix."""
    with written_whole(path) as part:
        write_figure(figure, part, Path(path).suffix[1:].lower())


def write_figure(figure: "Figure", file: Path | IO[bytes], form: str) -> None:
    """Write a figure in a format such as png, without math text: names may contain dollar signs."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    figure.savefig(file, dpi=110, format=form)
