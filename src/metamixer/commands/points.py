"""metamixer points"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from ..errors import printable
from ..system.files import write_csv
from .batch import Job, plan, run_jobs


def points(
    clouds: Sequence[str],
    *,
    checkpoint: str,
    out: str,
    model: str | None = None,
    votes: int = 1,
    fragments: bool = False,
    overwrite: bool = False,
    backend: str | None = None,
    device: str = "cpu",
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
        backend: eager or auto, which are PyTorch: no other backend holds this network; none: the same.
        device: the device to compute on, such as cpu or cuda.
    """
    from ..data.points.clouds import find_clouds, read_cloud, source_files
    from ..inference.voting import voting
    from ..predictors.point_segmenter import PointSegmenter

    voting(votes)
    paths = find_clouds(clouds)
    jobs = plan(
        paths,
        out,
        endings=lambda path: (labelled_suffix(path), ".jpg"),
        tables=(COUNTS,),
        files=source_files,
        overwrite=overwrite,
    )
    segmenter = PointSegmenter.load(checkpoint, model=model, device=device, backend=backend)
    for path in paths:  # read again later: all of them together may be larger than memory
        segmenter.check(read_cloud(path), str(path), votes=votes)

    def label(job: Job) -> list[tuple[object, ...]]:
        found = segmenter(job.source, votes=votes, fragments=fragments)
        target = found.save(job.named(labelled_suffix(job.source)))
        found.save(job.named(".jpg"))
        print(printable(f"{job.source}: {found}"), flush=True)
        counts = {**dict.fromkeys(segmenter.classes, 0), **found.counts()}
        return [(target.name, name, count, f"{count / len(found):.6f}") for name, count in counts.items()]

    heading = ("file", "class", "points", "share")
    run_jobs(jobs, out, label, lambda rows: write_csv(Path(out, COUNTS), [heading, *chain(*rows)]))


COUNTS = "counts.csv"


def labelled_suffix(path: Path) -> str:
    """Of a cloud's labelled copy; of arrays an NPZ is made."""
    from ..data.points.clouds import kind_of

    return path.suffix if kind_of(path) in (".ply", ".las", ".laz") else ".npz"
