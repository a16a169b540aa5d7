"""metamixer segment"""

from collections.abc import Sequence
from pathlib import Path

from ..data.images.decoding import MAX_PIXELS, bomb_guard
from ..errors import InputError, counted, printable
from ..system.files import each_once, free_name, write_csv, write_png
from ..system.json_files import write_json
from .batch import Job, plan, run_jobs
from .downloads import origin
from .engine import done_by_engine
from .output import FASTER, OWN_CLASSES

TABLES = ("areas.json", "areas.csv")


def segment(
    images: Sequence[str],
    *,
    checkpoint: str | None = None,
    out: str | None = None,
    model: str | None = None,
    window: int | None = None,
    stride: int | None = None,
    overlays: bool = True,
    grey_images: bool = False,
    json: str | None = None,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
    backend: str | None = None,
    precision: str = "fp32",
    device: str = "cpu",
    engine: str | None = None,
    pictures: bool = False,
) -> None:
    """Segment images and folders of images; write label PNGs, colored overlays and the areas of classes.

    Args:
        checkpoint: a checkpoint of a training run, or a published one, which needs --model.
        out: folder for NAME_labels.png, NAME_overlay.png, areas.csv and areas.json; default: segmented, or
            segmented_2 if that exists.
        model: a name from `metamixer models`; default: the packaged network, which knows 11 classes of streets.
        window: side in pixels of the sliding window; default: the checkpoint's, else 1024.
        stride: stride of the window in pixels; default: the checkpoint's, else three quarters of the window.
        overlays: also write the colored overlays.
        grey_images: accept gray images as three equal channels, also if there were none in training.
        precision: fp32, or bf16, which is less accurate and faster on processors that support it.
        all others: see shared_options.py.
    """
    from ..data.images.reading import find_images
    from ..predictors.segmenter import Segmenter
    from ..system.allocator import keep_freed_memory

    expect_sides(window=window, stride=stride)
    load = {"source": checkpoint, "model": model, "device": device, "backend": backend, "precision": precision}
    options = {"window": window, "stride": stride, "grey_images": grey_images}
    how = {"pictures": pictures, "max_pixels": max_pixels, "overwrite": overwrite, "refused": {"json": json}}
    if done_by_engine(engine, Segmenter.task, images, out, load=load, options=options, **how):
        return
    paths = each_once(find_images(images))
    out = out or free_name("segmented", overwrite=overwrite)
    endings = ("_labels.png", "_overlay.png")[: 1 + overlays]
    jobs, output = plan(paths, out, endings=lambda path: endings, tables=TABLES, json=json, overwrite=overwrite)
    keep_freed_memory()
    segmenter = Segmenter.load(checkpoint, model=model, device=device)
    if not checkpoint:
        output.introduce(model, segmenter.task, segmenter.classes)
    if window or stride:
        segmenter.use_windows(window or segmenter.preprocessing.window, stride)
    segmenter.deploy(backend, precision)

    def label(job: Job) -> dict:
        found = segmenter(job.source, grey_images=grey_images)
        if overlays:
            write_png(job.named("_overlay.png"), found.draw())
        labels = found.save(job.named("_labels.png"))
        output.say(f"{printable(job.source)}: {found}")
        return {**found.to_dict(), "image": origin(job.source), "labels": labels.name, "folder": str(out)}

    def finish(areas: list[dict]) -> None:
        write_areas(areas, Path(out))
        wrote = [Path(out, "areas.csv"), f"labels of {counted(len(areas), 'image')} in {out}"]
        output.end(areas, wrote=wrote, then=OWN_CLASSES if not checkpoint else "" if backend else FASTER)

    with bomb_guard(max_pixels):
        run_jobs(jobs, out, label, finish)


def expect_sides(**sides: int | None) -> None:
    """Raise InputError for a window or stride that is too small."""
    for name, side in sides.items():
        if side is not None and side < 32:
            raise InputError(f"{name} {side}, expected at least 32 pixels")


def write_areas(areas: Sequence[dict], out: Path) -> None:
    """Write the areas of all images as JSON and as a table."""
    write_json(out / "areas.json", areas)
    table = [
        (row["image"], name, area["pixels"], f"{area['share']:.6f}", row["labels"])
        for row in areas
        for name, area in row["classes"].items()
    ]
    write_csv(out / "areas.csv", [("image", "class", "pixels", "share", "labels"), *table])
