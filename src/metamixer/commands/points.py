"""metamixer points"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import printable
from .batch import Batch

if TYPE_CHECKING:
    import numpy as np

    from ..predictors.point_segmenter import PointSegmenter


def points(
    clouds: Sequence[str],
    *,
    checkpoint: str,
    out: str,
    model: str | None = None,
    votes: int = 1,
    fragments: bool = False,
    overwrite: bool = False,
    device: str = "cpu",
) -> None:
    """Label every point of point clouds; write labelled clouds, class counts and pictures.

    Args:
        clouds: files (PLY, LAS, LAZ, NPZ, NPY), folders of them, or folders of arrays with coord.npy.
        checkpoint: a file of a training run or its deploy form, or a published one, which needs its model's name.
        out: folder for a labelled copy of each cloud, a picture of it, and counts.csv.
        model: a network's name; ffnet_3d is published.
        votes: how many turned and scaled views of a cloud vote, 1 to 13.
        fragments: see every point itself, not one point a voxel; slower.
        overwrite: replace results that exist.
        device: where to compute, such as cpu or cuda.
    """
    from ..data.points.clouds import read_cloud
    from ..inference.voting import voting
    from ..predictors.point_segmenter import PointSegmenter
    from ..system.files import write_csv

    voting(votes)
    jobs = plan(clouds, Path(out), overwrite=overwrite)
    segmenter = PointSegmenter.load(checkpoint, model=model, device=device)
    for source, _ in jobs:  # read again later: all of them together may be larger than memory
        segmenter.check(read_cloud(source), str(source), votes=votes)
    rows = [("file", "class", "points", "share")]
    with Batch(len(jobs), out) as batch:
        for source, target in jobs:
            with batch.file(source):
                labels = label_file(segmenter, source, target, votes=votes, fragments=fragments)
                rows += class_counts(segmenter, source, target, labels=labels)
        if len(rows) > 1:
            write_csv(Path(out, COUNTS), rows)


COUNTS = "counts.csv"


def plan(clouds: Sequence[str], out: Path, *, overwrite: bool) -> list[tuple[Path, Path]]:
    """Each cloud with its labelled copy; raises InputError where a result is one of the inputs, or there already."""
    from ..data.points.clouds import find_clouds, source_files
    from ..system.files import check_targets

    paths = find_clouds(clouds)
    targets = [out / name for name in labelled_names(paths)]
    pictures = [target.with_suffix(".jpg") for target in targets]
    check_targets(
        [*targets, *pictures, out / COUNTS],
        sources=(file for path in paths for file in source_files(path)),
        overwrite=overwrite,
    )
    return list(zip(paths, targets, strict=True))


def labelled_names(paths: Sequence[Path]) -> list[str]:
    """A file name for each cloud; of arrays an NPZ is made."""
    from ..data.points.clouds import kind_of
    from ..system.files import unique_stems

    suffixes = [path.suffix if kind_of(path) in (".ply", ".las", ".laz") else ".npz" for path in paths]
    return [stem + suffix for stem, suffix in zip(unique_stems(paths), suffixes, strict=True)]


def label_file(segmenter: "PointSegmenter", source: Path, target: Path, *, votes: int, fragments: bool) -> "np.ndarray":
    """The class of every point of one cloud; writes its labelled copy and its picture."""
    from ..data.points.clouds import read_cloud, write_labelled
    from ..drawing.clouds import draw_cloud
    from ..system.files import write_picture

    cloud = read_cloud(source)
    labels = segmenter(cloud, votes=votes, fragments=fragments)
    write_labelled(source, target, labels)
    write_picture(target.with_suffix(".jpg"), draw_cloud(cloud.coordinates, labels, segmenter.classes))
    return labels


def class_counts(
    segmenter: "PointSegmenter", source: Path, target: Path, *, labels: "np.ndarray"
) -> list[tuple[object, ...]]:
    """The table's rows of one cloud; prints its commonest classes."""
    import numpy as np

    counts = np.bincount(labels, minlength=len(segmenter.classes))
    common = ", ".join(
        f"{segmenter.classes[i]} {counts[i] / len(labels):.1%}" for i in np.argsort(-counts)[:5] if counts[i]
    )
    print(printable(f"{source}: {len(labels):,} points: {common}"), flush=True)
    return [
        (target.name, name, count, f"{count / len(labels):.6f}")
        for name, count in zip(segmenter.classes, counts, strict=True)
    ]
