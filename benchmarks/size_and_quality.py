"""Parameters against PSNR of our upscalers and restorers, as one picture, next to networks of the literature.

    python benchmarks/size_and_quality.py

Reads the measured figures from benchmarks/results/super_resolution.json and restoration.json; the others are those of
the papers, and drawn hollow. Measures nothing. Writes docs/images/size_and_quality.png.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from restoration import ONE_FOR_ALL, PER_LEVEL

from metamixer.drawing.figures import new_figure, save_figure
from metamixer.zoo.networks import NETWORKS, OTHER_SIZES

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs/images/size_and_quality.png"


@dataclass(frozen=True)
class Point:
    """A network; paper: whether its figure is the paper's, not measured."""

    name: str
    parameters: float
    psnr: float
    paper: bool = False


PAPERS = (
    Point("SRCNN", 57e3, 36.66, paper=True),
    Point("FSRCNN", 12e3, 37.00, paper=True),
    Point("VDSR", 665e3, 37.53, paper=True),
)
"""Set5 at x2: Dong et al. 2014 and 2016, Kim et al. 2016."""

OURS_IN_THE_PAPER = {"ffnet_sr_light": 38.23, "ffnet_sr": 38.32}
"""Set5 at x2, of the networks whose weights the paper's authors published."""

DNCNN, DNCNN_FOR_ALL = 0.56e6, 0.67e6
"""Parameters of DnCNN-S, with 17 layers, and of DnCNN-B and DnCNN-3, with 20 (Zhang et al. 2017)."""

LEAST_SPAN = 0.5
"""Of a panel's PSNR in dB, so that small differences look small."""


def results(name: str) -> dict:
    """The stored results of a benchmark."""
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())


def upscalers() -> list[Point]:
    """On Set5 at x2."""
    (nano,) = (row for row in results("super_resolution")["rows"] if (row["set"], row["scale"]) == ("Set5", 2))
    measured = Point("ffnet_sr_nano", NETWORKS["ffnet_sr_nano"].parameters, nano["ffnet_sr_nano, fp32"]["psnr"])
    ours = [Point(name, NETWORKS[name].parameters, psnr, paper=True) for name, psnr in OURS_IN_THE_PAPER.items()]
    return [*PAPERS, measured, *ours]


def restorer(data: str, degradation: str) -> Point:
    """Our gray network on a set with one degradation."""
    (row,) = (row for row in results("restoration")["rows"] if (row["set"], row["degradation"]) == (data, degradation))
    return Point("ffnet_restore_gray", OTHER_SIZES["ffnet_restore_gray"].parameters, row["restored"])


def denoisers() -> list[Point]:
    """On Set12 with noise of 25."""
    test = ("Set12", "noise_25")
    return [
        restorer(*test),
        Point("DnCNN-S", DNCNN, PER_LEVEL[test], paper=True),
        Point("DnCNN-B", DNCNN_FOR_ALL, ONE_FOR_ALL[test], paper=True),
    ]


def deblockers() -> list[Point]:
    """On Classic5 in JPEG of quality 20."""
    test = ("Classic5", "jpeg_20")
    return [restorer(*test), Point("DnCNN-3", DNCNN_FOR_ALL, ONE_FOR_ALL[test], paper=True)]


PANELS = {
    "Upscaling: Set5, x2": upscalers,
    "Noise of 25: Set12": denoisers,
    "JPEG of quality 20: Classic5": deblockers,
}


def draw(path: Path) -> None:
    """A panel per task: parameters across, PSNR up; the measured points filled."""
    figure = new_figure(figsize=(12, 3.8), layout="constrained")
    panels = figure.subplots(1, len(PANELS))
    for axes, (title, points) in zip(panels, PANELS.items(), strict=True):
        for point in points():
            ours = point.name.startswith("ffnet")
            color = "crimson" if ours else "steelblue"
            place = (point.parameters / 1e6, point.psnr)
            axes.scatter(*place, edgecolors=color, facecolors="none" if point.paper else color)
            label = f"{point.name}{' (paper)' * point.paper}"
            side = {"xytext": (-7, 0), "ha": "right"} if ours else {"xytext": (7, 0), "ha": "left"}
            axes.annotate(label, place, textcoords="offset points", va="center", fontsize=8, **side)
            print(f"{title}: {label}, {place[0]:.2f} M, {point.psnr:.2f} dB")
        axes.set(title=title, xscale="log", xlim=(0.004, 15), xlabel="parameters (millions)", ylabel="PSNR (dB)")
        axes.set_ylim(limits([point.psnr for point in points()]))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:.2f}")
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def limits(values: list[float]) -> tuple[float, float]:
    """The range of an axis around the values, at least `LEAST_SPAN`."""
    low, high = min(values), max(values)
    half = max(1.3 * (high - low), LEAST_SPAN) / 2
    return (low + high) / 2 - half, (low + high) / 2 + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=PICTURE, help="file for the picture")
    draw(parser.parse_args().out)


if __name__ == "__main__":
    main()
