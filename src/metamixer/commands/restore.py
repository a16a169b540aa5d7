"""metamixer restore"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.images.decoding import MAX_PIXELS
from ..errors import printable
from .engine import done_by_engine
from .picture_files import ImageJob, default_out, plan_images, process_file, process_files

if TYPE_CHECKING:
    from ..predictors.image_to_image import OnTile


def restore(
    images: Sequence[str],
    *,
    strength: float | None = None,
    scale: int | None = None,
    out: str | None = None,
    model: str | None = None,
    checkpoint: str | None = None,
    compare: bool = False,
    overwrite: bool = False,
    ensemble: int | None = None,
    memory: int = 256,
    max_pixels: int = MAX_PIXELS,
    json: str | None = None,
    backend: str | None = None,
    precision: str = "fp32",
    device: str = "cpu",
    engine: str | None = None,
    pictures: bool = False,
) -> None:
    """Remove noise and JPEG artifacts from images and folders of images, keeping format, bit depth, alpha and profile.

    Args:
        strength: 0 (unchanged) to 1 (fully restored); default: by an estimate of noise and JPEG quality, 0 for a
            clean image.
        scale: 2, 3 or 4: restore and enlarge in one network, which is in the package; default: the checkpoint's, or 1.
        out: file for one image, in the format of its name, or folder for several; default: NAME_restored.SUFFIX for
            one image, the folder restored for several, with _2 added if that exists.
        model: a name from `metamixer models`; default: ffnet_restore, which is in the package.
        checkpoint: a checkpoint of a training run, or an exported file.
        compare: also write an image with before and after side by side, named like the result with _compare.jpg.
        ensemble: 1, 2, 4 or 8: the mean over as many mirrored and turned images: better, and as many times slower.
        memory: limit in MiB of the network's largest tensors; image, result and PyTorch's cache are not included.
        precision: fp32, bf16 or, with a backend, auto for the fastest.
        all others: see shared_options.py.
    """
    from ..predictors.restorer import Restorer

    load = {"source": checkpoint, "model": model, "scale": scale, "strength": strength, "memory": memory}
    load |= {"ensemble": ensemble, "device": device, "backend": backend, "precision": precision}
    refused = {"compare": compare, "json": json}
    how = {"pictures": pictures, "max_pixels": max_pixels, "overwrite": overwrite, "refused": refused}
    if done_by_engine(engine, Restorer.task, images, out, load=load, **how):
        return
    out = out or default_out(images, "restored", overwrite=overwrite)
    jobs, output = plan_images(images, Path(out), compare=compare, json=json, overwrite=overwrite)
    restorer = Restorer.load(**load)

    def restore_file(job: ImageJob, on_tile: "OnTile") -> dict:
        found = process_file(restorer, job, on_tile=on_tile)
        noise, quality, used = found["estimate"].noise, found["estimate"].quality, found["strength"]
        output.say(f"{printable(job.source)}: {found['estimate']}, strength {used:.2f}")
        return {"scale": restorer.scale, "noise": round(noise, 2), "jpeg_quality": quality, "strength": used}

    def next_command(done: list[dict]) -> str:
        return "--strength 0 to 1 changes the strength" if compare else "add --compare to see before and after"

    process_files(jobs, out, output, restore_file, next_command, max_pixels=max_pixels)
