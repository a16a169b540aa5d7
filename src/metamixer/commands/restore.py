"""metamixer restore"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from ..data.images.decoding import MAX_PIXELS, bomb_guard
from ..errors import counted, printable
from .batch import Batch
from .downloads import origin
from .engine import done_by_engine
from .output import Output
from .picture_files import default_out, plan, process_file
from .progress import progress_bar, shown


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
    jobs = plan(images, Path(out), compare=compare, overwrite=overwrite)
    sources, *targets = zip(*jobs, strict=True)
    results = filter(None, chain(*targets))
    output = Output(json, sources=sources, results=results, overwrite=overwrite)
    restorer = Restorer.load(**load)
    done, written = [], []
    with bomb_guard(max_pixels), progress_bar() as progress, Batch(len(jobs), out) as batch:
        for source, target, comparison in jobs:
            with batch.file(source), shown(progress, source.name) as show:
                found = process_file(restorer, source, target, comparison=comparison, on_tile=show)
                written += [target, comparison] if comparison else [target]
                estimate, strength = found["estimate"], found["strength"]
                output.say(f"{printable(source)}: {estimate}, strength {strength:.2f}")
                about = {"noise": round(estimate.noise, 2), "jpeg_quality": estimate.quality, "strength": strength}
                done.append({"image": origin(source), "result": str(target), "scale": restorer.scale, **about})
        if done:
            then = "--strength 0 to 1 changes the strength" if compare else "add --compare to see before and after"
            output.end(
                done, wrote=written if len(jobs) == 1 else [f"{counted(len(done), 'image')} in {out}"], then=then
            )
