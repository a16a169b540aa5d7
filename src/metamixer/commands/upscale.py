"""metamixer upscale"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.images.decoding import MAX_PIXELS
from ..errors import InputError, printable
from .engine import done_by_engine
from .picture_files import ImageJob, default_out, plan_images, process_file, process_files

if TYPE_CHECKING:
    from ..predictors.image_to_image import ImageToImage, OnTile

KINDS = ("clean", "photo")
"""Kinds of weights: for clean images, and for photographs, whose noise and JPEG blocks they don't enlarge."""


def upscale(
    images: Sequence[str],
    *,
    scale: int | None = None,
    out: str | None = None,
    model: str | None = None,
    checkpoint: str | None = None,
    weights: str | None = None,
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
    """Upscale images and folders of images, keeping format, bit depth, alpha, orientation and color profile.

    Args:
        scale: 2, 3 or 4; default: the checkpoint's, or 2.
        out: file for one image, in the format of its name, or folder for several; default: NAME_upscaled.SUFFIX for
            one image, the folder upscaled for several, with _2 added if that exists.
        model: a name from `metamixer models`; default: ffnet_sr_nano, which is in the package.
        checkpoint: a checkpoint of a training run, or a published one, which needs --model.
        weights: clean or photo, which enlarges neither noise nor JPEG blocks; default: photo for JPEG and lossy WebP
            files and where noise or traces of JPEG are found, clean for others.
        compare: also write an image with bicubic and the network side by side, named like the result with _compare.jpg.
        ensemble: 1, 2, 4 or 8: the mean over as many mirrored and turned images: better, and as many times slower.
        memory: limit in MiB of the network's largest tensors; image, result and PyTorch's cache are not included.
        precision: fp32, bf16 or, with a backend, auto for the fastest.
        all others: see shared_options.py.
    """
    from ..predictors.upscaler import Upscaler

    load = {"source": checkpoint, "model": model, "scale": scale, "memory": memory, "ensemble": ensemble}
    load |= {"device": device, "backend": backend, "precision": precision}
    refused = {"compare": compare, "json": json, "weights": weights}
    how = {"pictures": pictures, "max_pixels": max_pixels, "overwrite": overwrite, "refused": refused}
    if done_by_engine(engine, Upscaler.task, images, out, load=load, **how):
        return
    out = out or default_out(images, "upscaled", overwrite=overwrite)
    jobs, output = plan_images(images, Path(out), compare=compare, json=json, overwrite=overwrite)
    upscalers = Upscalers(weights, load)
    upscalers.load(upscalers.kind_by_format(jobs[0].source))  # so that a wrong option is named before the work

    def upscale_file(job: ImageJob, on_tile: "OnTile") -> dict:
        kind, why = upscalers.choose(job.source)
        upscaler = upscalers.load(kind)
        about = process_file(upscaler, job, on_tile=on_tile)
        if "strength" in about and why:
            why += f", strength {about['strength']:.2f}"
        if len(jobs) > 1 or why:
            output.say(f"{printable(job.source)}: {why}" if why else printable(job.source))
        return {"scale": upscaler.scale, **({"weights": kind} if why else {})}

    def next_command(done: list[dict]) -> str:
        clean = any(each.get("weights") == "clean" for each in done) and weights is None
        hints = ["add --compare to see it next to bicubic"] * (not compare)
        hints += ["--weights photo removes noise first"] * clean
        return "; ".join(hints)

    process_files(jobs, out, output, upscale_file, next_command, max_pixels=max_pixels)


@dataclass
class Upscalers:
    """The network for each kind of file: a given one for all, or one of each of `KINDS`.

    wanted: the kind that the user asks for; load_arguments: of the predictors. Raises InputError for an unknown kind
    of weights or scale.
    """

    wanted: str | None
    load_arguments: dict[str, Any]
    loaded: dict[str, "ImageToImage"] = field(default_factory=dict)

    def __post_init__(self):
        from ..models.ffnet_sr import SCALES

        if self.wanted not in (None, *KINDS):
            raise InputError(f"weights {self.wanted!r}, expected one of {', '.join(KINDS)}")
        scale = self.load_arguments["scale"]
        if scale not in (None, *SCALES):
            raise InputError(f"scale {scale}, expected one of {', '.join(map(str, SCALES))}")
        if self.given and self.wanted:
            raise InputError(
                f"weights {self.wanted!r} with --model or --checkpoint, expected only one of these options"
            )

    @property
    def given(self) -> bool:
        """Whether the user names a network instead of a kind."""
        return any(self.load_arguments[name] is not None for name in ("source", "model"))

    def kind_by_format(self, source: Path) -> str:
        """The kind of weights for a file, without looking at its pixels."""
        from ..data.images.jpeg import is_lossy

        if self.given:
            return "clean"
        return self.wanted or ("photo" if is_lossy(source) else "clean")

    def choose(self, source: Path) -> tuple[str, str]:
        """The kind of weights for a file, and why; no reason if a network is given."""
        if self.given:
            return "clean", ""
        kind, because = self.kind_by_format(source), ""
        if self.wanted is None:
            found = found_in(source) if kind == "clean" else ""
            because = "lossy file, " if kind == "photo" else f"lossless file, {found}"
            kind = "photo" if found else kind
        return kind, f"{because}{kind} weights"

    def load(self, kind: str) -> "ImageToImage":
        """The predictor of a kind, loaded once."""
        from ..predictors.restorer import Restorer
        from ..predictors.upscaler import Upscaler

        if kind not in self.loaded:
            if kind == "photo":
                scale = self.load_arguments["scale"] or 2
                self.loaded[kind] = Restorer.load(**{**self.load_arguments, "scale": scale})
            else:
                self.loaded[kind] = Upscaler.load(**self.load_arguments)
        return self.loaded[kind]


def found_in(source: Path) -> str:
    """The noise and traces of JPEG in an image, with a comma after them; empty if it needn't be restored."""
    from ..data.images.lossless import read_picture
    from ..data.restoration.estimate import SPOILED, estimate
    from ..predictors.image_types import FULL

    pixels = read_picture(source).colour
    found = estimate(pixels, white=FULL[pixels.dtype.name])
    return f"{found}, " if found.strength >= SPOILED else ""
