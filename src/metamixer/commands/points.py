"""metamixer points"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..models.tasks import POINTS
from .batch import Batch
from .engine import predict_files

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
    engine: str | None = None,
    pictures: bool = False,
) -> None:
    """Classify every point of point clouds; write labeled clouds, class counts and pictures.

    Args:
        clouds: files (PLY, LAS, LAZ, NPZ, NPY), folders of them, or folders of arrays with coord.npy.
        checkpoint: a file of a training run or its deploy form, or a published one, which needs --model.
        out: folder for labeled copies and pictures of the clouds, and counts.csv.
        model: a network's name; ffnet_3d is published.
        votes: number of rotated and scaled views of a cloud that vote, 1 to 13.
        fragments: predict every point instead of one per voxel; slower.
        overwrite: replace existing results.
        device: the device to compute on, such as cpu or cuda.
        engine: ray, or ray:ACTORS such as ray:4, for very many inputs: also lists (.txt), Parquet files and URLs, with
            results as Parquet in `out`; a stopped job goes on.
        pictures: with an engine, draw each result too.
    """
    from ..data.points.clouds import read_cloud
    from ..inference.voting import voting
    from ..predictors.point_segmenter import PointSegmenter
    from ..system.files import write_csv

    voting(votes)
    if engine:
        load = {"source": checkpoint, "model": model, "device": device}
        options = {"votes": votes, "fragments": fragments}
        how = {"load": load, "options": options, "pictures": pictures, "overwrite": overwrite}
        predict_files(engine, POINTS.name, clouds, out, **how)
        return
    jobs = plan(clouds, Path(out), overwrite=overwrite)
    segmenter = PointSegmenter.load(checkpoint, model=model, device=device)
    for source, _ in jobs:  # read again later, because all clouds together may exceed the memory
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
    """Each cloud with its labeled copy; raises InputError if a result is an input or exists."""
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
    """A file name for each labeled copy; arrays become an NPZ."""
    from ..data.points.clouds import kind_of
    from ..system.files import unique_stems

    suffixes = [path.suffix if kind_of(path) in (".ply", ".las", ".laz") else ".npz" for path in paths]
    return [stem + suffix for stem, suffix in zip(unique_stems(paths), suffixes, strict=True)]


def label_file(segmenter: "PointSegmenter", source: Path, target: Path, *, votes: int, fragments: bool) -> "np.ndarray":
    """Predict the class of every point of a cloud; writes its labeled copy and its picture."""
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
    """The rows of counts.csv for a cloud; prints its most frequent classes."""
    import numpy as np

    counts = np.bincount(labels, minlength=len(segmenter.classes))
    common = ", ".join(
        f"{segmenter.classes[i]} {counts[i] / len(labels):.1%}" for i in np.argsort(-counts)[:5] if counts[i]
    )
    print(f"{source}: {len(labels):,} points: {common}", flush=True)
    return [
        (target.name, name, count, f"{count / len(labels):.6f}")
        for name, count in zip(segmenter.classes, counts, strict=True)
    ]
