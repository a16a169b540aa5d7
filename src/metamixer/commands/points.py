"""metamixer points"""

from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from ..files import unique_stems, write_csv, write_picture


def points(
    clouds: Sequence[str],
    *,
    checkpoint: str,
    out: str,
    votes: int = 1,
    fragments: bool = False,
    device: str = "cpu",
) -> None:
    """Label every point of point clouds; write labelled clouds, class counts and pictures.

    Args:
        clouds: files (PLY, LAS, LAZ, NPZ, NPY), folders of them, or folders of arrays with coord.npy.
        checkpoint: a file of a training run or its deploy form.
        out: folder for a labelled copy of each cloud, a picture of it, and counts.csv.
        votes: how many turned and scaled views of a cloud vote, 1 to 13.
        fragments: see every point itself, not one point a voxel; slower.
        device: where to compute, such as cpu or cuda.
    """
    import numpy as np

    from ..data.clouds import find_clouds, read_cloud, write_labelled
    from ..machine import find_device
    from ..point_picture import draw_cloud
    from ..point_segmenter import VOTES, PointSegmenter

    if not 1 <= votes <= len(VOTES):
        raise InputError(f"votes {votes}, expected 1 to {len(VOTES)}")
    paths = find_clouds(clouds)
    segmenter = PointSegmenter.load(checkpoint)
    segmenter.network.to(find_device(device))
    read = {path: read_cloud(path) for path in paths}
    for path, cloud in read.items():
        segmenter.preprocessing.check(cloud, str(path))
    rows = [("file", "class", "points", "share")]
    for path, name in zip(paths, labelled_names(paths), strict=True):
        cloud = read[path]
        labels = segmenter(cloud, votes=votes, fragments=fragments)
        write_labelled(path, Path(out, name), labels)
        write_picture(Path(out, name).with_suffix(".jpg"), draw_cloud(cloud.coordinates, labels, segmenter.classes))
        counts = np.bincount(labels, minlength=len(segmenter.classes))
        rows += [(name, each, count, f"{count / len(labels):.6f}") for each, count in zip(segmenter.classes, counts, strict=True)]
        common = ", ".join(f"{segmenter.classes[i]} {counts[i] / len(labels):.1%}" for i in np.argsort(-counts)[:5] if counts[i])
        print(f"{path}: {len(labels):,} points: {common}")
    write_csv(Path(out, "counts.csv"), rows)


def labelled_names(paths: Sequence[Path]) -> list[str]:
    """A file name for each cloud; of arrays an NPZ is made."""
    suffixes = [path.suffix if path.suffix.lower() in (".ply", ".las", ".laz") else ".npz" for path in paths]
    return [stem + suffix for stem, suffix in zip(unique_stems(paths), suffixes, strict=True)]
