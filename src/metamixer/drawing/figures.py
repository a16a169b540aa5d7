"""Figures with matplotlib, imported only for drawing."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..system.files import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pyplot():
    """matplotlib.pyplot for drawing to files, without math text, because names may contain dollar signs."""
    try:
        import matplotlib
    except ImportError:
        raise InputError("drawing needs matplotlib: pip install 'metamixer[demo]'") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot

    matplotlib.rcParams["text.parse_math"] = False
    return matplotlib.pyplot


def check_figure_name(path: str | Path) -> None:
    """Raise InputError for a suffix that matplotlib doesn't support."""
    known = pyplot().gcf().canvas.get_supported_filetypes()
    pyplot().close()
    if Path(path).suffix[1:].lower() not in known:
        raise InputError(
            f"{path}: expected a name that ends in one of {', '.join(sorted(f'.{name}' for name in known))}"
        )


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Write a figure atomically, in the format of its suffix, and close it."""
    with written_whole(path) as part:
        figure.savefig(part, dpi=110, format=Path(path).suffix[1:].lower())
    pyplot().close(figure)
