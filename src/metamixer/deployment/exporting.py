"""From a network to a file that is proved to be the same function, or to no file at all."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from ..fusion import fuse
from .description import Description, Shape, show_shape
from .formats import FORMATS, Format, find_format, import_form, load_exported
from .parity import TOLERANCE, Parity, compare
from .program import Normalize, Program, twice
from .quantization import COSTLIEST, Accuracy, Quantization, layer_costs, quantizable_layers, top1
from .samples import random_batches
from .targets import check_out, written_whole


@dataclass(frozen=True)
class Report:
    """What was written: parity is None where the file can't be run here; accuracy is int8's; floating names the layers that an int8
    file keeps in floating point."""

    path: Path
    format: str
    precision: str
    shape: Shape
    size: int
    parity: Parity | None
    real_images: bool
    accuracy: Accuracy | None = None
    floating: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows = {"input": f"{show_shape(self.shape)}, float32", "precision": self.precision, "size": f"{self.size / 1e6:.1f} MB"}
        if self.floating:
            rows["floating point"] = f"{len(self.floating)} layers: {', '.join(self.floating)}"
        if self.parity:
            rows["largest error"] = f"{self.parity.largest:.1e} of the largest output"
            rows["mean error"] = f"{self.parity.mean:.1e}"
            if self.parity.agreement is not None:
                kind = "images" if self.real_images else "random inputs (--images FOLDER for real ones)"
                rows["same top-1"] = f"{self.parity.agreement:.2%} of {self.parity.images} {kind}"
        if self.accuracy:
            rows["top-1"] = (
                f"{self.accuracy.int8:.2f} % in int8, {self.accuracy.floating:.2f} % in float32, {self.accuracy.images} validation images"
            )
        rows["status"] = "verified" if self.parity else f"not verifiable on this platform ({sys.platform}); its structure was checked"
        return "\n".join([str(self.path), *(f"  {name:16s}{value}" for name, value in rows.items())])


def export(
    network: nn.Module,
    out: str | Path,
    *,
    format: str,
    info: dict[str, Any] | None = None,
    example: Tensor | None = None,
    precision: str | None = None,
    dynamic: bool = True,
    samples: Tensor | None = None,
    quantization: Quantization | None = None,
    overwrite: bool = False,
) -> Report:
    """Fuse a network, write it in one of `FORMATS` and prove that the file is the same function, else write nothing.

    The file takes images in [0, 1]: the normalisation of `info["preprocessing"]` is in it, resizing is not.

    Args:
        network: any module with one tensor in and one out.
        out: the file to write; it appears whole or not at all.
        info: what is known of the network (`network_info`); the file keeps it, class names included.
        example: an input as the file takes it, (B, ...); None: one from the preprocessing.
        precision: one of the format's; None: its default, or int8 where `quantization` is given.
        dynamic: leave the batch and, where the format allows, the size free; else both are the example's.
        samples: real inputs (N, ...) to compare on, as the file takes them; None: random ones.
        quantization: how to make the network int8; None: it stays in floating point.
        overwrite: replace what exists.
    """
    kind = find_format(format)
    precision = _precision(format, kind, precision, quantization)
    form = import_form(format, kind.module, kind.packages)
    out = Path(out)
    check_out(out, kind, overwrite=overwrite)
    info = {**(info or {}), "fused": True}
    if example is None:
        from .source import example_of

        example = example_of(info)
    reference = with_preprocessing(network, info).eval()
    program = Program(
        module=with_preprocessing(fuse(network), info).eval().requires_grad_(False),
        example=twice(example) if dynamic else example,
        description=Description(precision, network=info),
        dynamic=dynamic,
        calibration=quantization.calibration if quantization else None,
    )
    with written_whole(out) as part:
        form.write(program, part)
        if kind.runs_on not in (None, sys.platform):
            form.check_structure(part, program.module)
            shape, parity, accuracy, inputs = form.read(part).shape, None, None, None
        else:
            program, accuracy = _within_drop(program, form, part, reference, quantization)
            runtime = load_exported(part)
            shape = runtime.shape
            inputs = samples if samples is not None else program.calibration
            in_every_size = compare(runtime, reference, random_batches(example, shape))
            parity = in_every_size if inputs is None else compare(runtime.any_batch, reference, inputs.split(16))
            if accuracy is None:  # what int8 costs a classifier is told by its accuracy
                far = parity if precision == "int8" or parity.largest > in_every_size.largest else in_every_size
                _refuse_if_far(far, precision, out)
        size = sum(file.stat().st_size for file in part.parent.rglob("*") if file.is_file())
    kept = _names_of(program)
    return Report(out, format, precision, shape, size, parity, inputs is not None, accuracy, kept)


def with_preprocessing(network: nn.Module, info: dict[str, Any]) -> nn.Module:
    """The network behind the normalisation that it was trained with, where one is known."""
    preprocessing = info.get("preprocessing") or {}
    return Normalize(network, preprocessing["mean"], preprocessing["std"]) if "mean" in preprocessing else network


def _precision(name: str, kind: Format, precision: str | None, quantization: Quantization | None) -> str:
    precision = precision or ("int8" if quantization else kind.precisions[0])
    if precision not in kind.precisions:
        able = [other for other, format in FORMATS.items() if precision in format.precisions]
        hint = f"; {precision}: {', '.join(able)}" if able else ""
        raise InputError(f"precision {precision!r}, expected one of {', '.join(kind.precisions)} for format {name}{hint}")
    if (precision == "int8") != (quantization is not None):
        raise InputError(f"precision {precision!r}, expected int8 with a folder to calibrate on and no other: --int8 --calibration FOLDER")
    return precision


def _within_drop(
    program: Program, form, part: Path, reference: nn.Module, quantization: Quantization | None
) -> tuple[Program, Accuracy | None]:
    """The file at `part` with int8 that costs no more than allowed; layers go back to floating point where that is asked for."""
    if quantization is None or quantization.validation is None:
        return program, None
    info = program.description.network
    classes = {"network_classes": info["classes"], "num_classes": info["model_args"]["num_classes"]}
    floating = top1(reference, quantization, **classes)

    def measured() -> Accuracy:
        return Accuracy(floating, top1(load_exported(part).any_batch, quantization, **classes), len(quantization.validation))

    accuracy = measured()
    if accuracy.drop <= quantization.max_drop:
        return program, accuracy
    costs = layer_costs(program.module, quantization.calibration)
    if not quantization.mixed:
        costliest = ", ".join(f"{name.removeprefix('network.')} {cost:.1%}" for name, cost in costs[:COSTLIEST])
        raise InputError(
            f"int8 top-1 {accuracy.int8:.2f} %, float32 {accuracy.floating:.2f} %: a drop of {accuracy.drop:.2f} points, expected at most "
            f"{quantization.max_drop:g} (--max_drop): nothing written; the layers that cost most: {costliest}; "
            "--mixed leaves the costliest in floating point"
        )
    layers = dict(quantizable_layers(program.module))
    count = 1
    while accuracy.drop > quantization.max_drop and count < len(costs):
        program = replace(program, floating=[layers[name].weight for name, _ in costs[:count]])
        form.write(program, part)
        accuracy, count = measured(), 2 * count
    if accuracy.drop > quantization.max_drop:
        raise InputError(
            f"int8 top-1 {accuracy.int8:.2f} % with half of the layers in floating point, float32 {accuracy.floating:.2f} %, "
            f"expected a drop of at most {quantization.max_drop:g} points (--max_drop): nothing written"
        )
    return program, accuracy


def _refuse_if_far(parity: Parity, precision: str, out: Path) -> None:
    if not parity.within(precision):
        raise InputError(
            f"{out}: differs from the network by {parity.largest:.1e} of its largest output, expected at most "
            f"{TOLERANCE[precision]:.0e} in {precision}: nothing written"
        )


def _names_of(program: Program) -> tuple[str, ...]:
    weights = {id(weight) for weight in program.floating}
    return tuple(name.removeprefix("network.") for name, layer in quantizable_layers(program.module) if id(layer.weight) in weights)
