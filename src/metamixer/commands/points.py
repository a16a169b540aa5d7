"""metamixer points"""

from collections.abc import Sequence
from pathlib import Path

from ..errors import counted, printable
from ..system.files import each_once, free_name, write_csv
from .batch import Job, plan, run_jobs
from .downloads import origin
from .engine import done_by_engine
from .output import MORE_VOTES, OWN_CLASSES


def points(
    clouds: Sequence[str],
    *,
    checkpoint: str | None = None,
    out: str | None = None,
    model: str | None = None,
    votes: int = 1,
    intensity_max: float | None = None,
    fragments: bool = False,
    json: str | None = None,
    overwrite: bool = False,
    backend: str | None = None,
    device: str = "cpu",
    engine: str | None = None,
    pictures: bool = False,
) -> None:
    """Classify every point of point clouds; write labeled clouds, class counts and pictures.

    Args:
        clouds: files (PLY, LAS, LAZ, NPZ, NPY, KITTI's BIN), folders of them, folders of arrays with coord.npy, or
            https URLs.
        checkpoint: a checkpoint of a training run or its deploy form, or a published one, which needs --model.
        out: folder for a labeled copy of each cloud, a picture of it, and counts.csv; default: labeled, or labeled_2
            if that exists.
        model: a name from `metamixer models`; default: the packaged network, for street scans with the
            intensity of a lidar.
        votes: number of rotated and scaled views of a cloud that vote, 1 to 13.
        intensity_max: the intensity in the files that stands for 1, such as 255; default: as in the training, mostly
            the maximum of their type.
        fragments: predict every point instead of one per voxel; slower.
        backend: eager or auto; both mean PyTorch, because no other backend supports this network.
        all others: see shared_options.py.
    """
    from ..data.points.clouds import find_clouds, source_files
    from ..inference.voting import voting
    from ..predictors.point_segmenter import PointSegmenter

    voting(votes)  # raises InputError for a wrong number
    load = {"source": checkpoint, "model": model, "device": device, "backend": backend}
    load |= {} if intensity_max is None else {"intensity_max": intensity_max}
    options = {"votes": votes, "fragments": fragments}
    how = {"pictures": pictures, "overwrite": overwrite, "refused": {"json": json}}
    if done_by_engine(engine, PointSegmenter.task, clouds, out, load=load, options=options, **how):
        return
    paths = each_once(find_clouds(clouds))
    out = out or free_name("labeled", overwrite=overwrite)
    how = {"tables": (COUNTS,), "files": source_files, "json": json, "overwrite": overwrite}
    jobs, output = plan(paths, out, endings=lambda path: (labelled_suffix(path), ".jpg"), **how)
    segmenter = PointSegmenter.load(**load)
    if not checkpoint:
        output.introduce(model, segmenter.task, segmenter.classes)
    for path in paths:  # read again later: together they may not fit in memory
        segmenter.check(segmenter.read(path), str(path), votes=votes)

    def label(job: Job) -> dict:
        found = segmenter(job.source, **options)
        target = found.save(job.named(labelled_suffix(job.source)))
        found.save(job.named(".jpg"))
        output.say(f"{printable(job.source)}: {found}")
        return {**found.to_dict(), "cloud": origin(job.source), "labels": target.name, "folder": str(out)}

    def finish(found: list[dict]) -> None:
        write_csv(Path(out, COUNTS), count_table(found, segmenter.classes))
        output.end(
            found,
            wrote=[Path(out, COUNTS), f"{counted(len(found), 'labeled cloud')} in {out}"],
            then=OWN_CLASSES if not checkpoint else "" if votes > 1 else MORE_VOTES,
        )

    run_jobs(jobs, out, label, finish)


COUNTS = "counts.csv"


def count_table(found: Sequence[dict], classes: Sequence[str]) -> list[tuple[object, ...]]:
    """A heading, and for each cloud the points of every class."""
    none = {"points": 0, "share": 0.0}
    rows = [
        (cloud["labels"], name, count["points"], f"{count['share']:.6f}")
        for cloud in found
        for name, count in {**dict.fromkeys(classes, none), **cloud["classes"]}.items()
    ]
    return [("file", "class", "points", "share"), *rows]


def labelled_suffix(path: Path) -> str:
    """The suffix of a cloud's labeled copy; arrays are written as NPZ."""
    from ..data.points.clouds import kind_of

    return path.suffix if kind_of(path) in (".ply", ".las", ".laz") else ".npz"
