"""From a network to a file that is proved to be the same function, or to no file at all."""

import copy
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import InputError, first_line
from ..ops.fusion import fuse
from .description import Description, Shape, show_shape
from .formats import FORMATS, Format, find_format, import_form, load_exported
from .inputs import check_inputs
from .parity import Parity, compare
from .program import Normalize, Program, twice
from .quantization import COSTLIEST, Accuracy, Quantization, layer_costs, quantizable_layers, top1
from .runtime import Runtime
from .samples import example_of, random_batches
from .targets import check_out, written_together

Write = Callable[[Program, Path], None]


@dataclass(frozen=True)
class Report:
    """What was written: parity is None where the file can't be run here; accuracy is int8's; floating names the layers
    that an int8 file keeps in floating point.
    """

    path: Path
    format: str
    precision: str
    shape: Shape = ()
    size: int = 0
    parity: Parity | None = None
    real_images: bool = False
    accuracy: Accuracy | None = None
    floating: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows = {
            "input": f"{show_shape(self.shape)}, float32",
            "precision": self.precision,
            "size": f"{self.size / 1e6:.1f} MB",
        }
        if self.floating:
            rows["floating point"] = f"{len(self.floating)} layers: {', '.join(self.floating)}"
        if self.parity:
            rows["largest error"] = f"{self.parity.largest:.1e} of the largest output"
            rows["mean error"] = f"{self.parity.mean:.1e}"
            if self.precision == "int8":
                rows["signal to noise"] = f"{self.parity.snr:.1f} dB"
            if self.parity.agreement is not None:
                kind = "images" if self.real_images else "random inputs (--images FOLDER for real ones)"
                rows["same top-1"] = f"{self.parity.agreement:.2%} of {self.parity.images} {kind}"
        if self.accuracy:
            rows["top-1"] = (
                f"{self.accuracy.int8:.2f} % in int8, {self.accuracy.floating:.2f} % in float32, "
                f"{self.accuracy.images} validation images"
            )
        rows["status"] = self.status
        return "\n".join([str(self.path), *(f"  {name:16s}{value}" for name, value in rows.items())])

    def to_dict(self) -> dict[str, Any]:
        """The report in plain values, as JSON has them."""
        values = {**asdict(self), "path": str(self.path), "status": self.status}
        return {key: value for key, value in values.items() if value not in (None, ())}

    @property
    def status(self) -> str:
        """How far the file is proved."""
        if not self.parity:
            return f"not verifiable on this platform ({sys.platform}); its structure was checked"
        return "verified (int8, no accuracy measured)" if self.precision == "int8" and not self.accuracy else "verified"


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
    kind, out = find_format(format), Path(out)
    precision = _precision(format, kind, precision, quantization)
    form = import_form(format, kind.module, kind.packages)
    check_out(out, kind, overwrite=overwrite)
    info = {**(info or {}), "fused": True}
    example = example_of(network, info) if example is None else example
    calibration = quantization.calibration if quantization else None
    network = copy.deepcopy(network)  # the caller's never changes
    reference = with_preprocessing(network, info).eval()
    check_inputs(reference, example, calibration=calibration, samples=samples)
    program = Program(
        module=with_preprocessing(fuse(network), info).eval().requires_grad_(False),
        example=twice(example) if dynamic else example,
        description=Description(precision, network=info),
        dynamic=dynamic,
        calibration=calibration,
    )
    report = Report(out, format, precision)
    write = partial(write_program, form.write, format)
    with written_together(out) as part:
        write(program, part)
        if kind.runs_on in (None, sys.platform):
            report = _proved(
                report, part, program, reference=reference, quantization=quantization, samples=samples, write=write
            )
        else:
            form.check_structure(part, program.module)
            report = replace(report, shape=form.read(part).shape)
        size = sum(file.stat().st_size for file in part.parent.rglob("*") if file.is_file())
    return replace(report, size=size)


def write_program(write: Write, name: str, program: Program, path: Path) -> None:
    """Write a program in a format; raises InputError with what its library says where that can't hold the network."""
    try:
        write(program, path)
    except (InputError, OSError):
        raise
    except Exception as error:
        raise InputError(f"format {name!r} can't hold this network ({first_line(error)}): nothing written") from error


def with_preprocessing(network: nn.Module, info: dict[str, Any]) -> nn.Module:
    """The network behind the normalisation that it was trained with, where one is known."""
    preprocessing = info.get("preprocessing") or {}
    return Normalize(network, preprocessing["mean"], preprocessing["std"]) if "mean" in preprocessing else network


def _precision(name: str, kind: Format, precision: str | None, quantization: Quantization | None) -> str:
    precision = precision or ("int8" if quantization else kind.precisions[0])
    if precision not in kind.precisions:
        able = [other for other, format in FORMATS.items() if precision in format.precisions]
        hint = f"; {precision}: {', '.join(able)}" if able else ""
        raise InputError(
            f"precision {precision!r}, expected one of {', '.join(kind.precisions)} for format {name}{hint}"
        )
    if (precision == "int8") != (quantization is not None):
        raise InputError(
            f"precision {precision!r}, expected int8 with a folder to calibrate on and no other: --int8 "
            "--calibration FOLDER"
        )
    return precision


def _proved(
    report: Report,
    part: Path,
    program: Program,
    *,
    reference: nn.Module,
    quantization: Quantization | None,
    samples: Tensor | None,
    write: Write,
) -> Report:
    """The report with what the file at `part` gives beside the network; raises InputError where that is too far."""
    accuracy = None
    if quantization and quantization.validation is not None:
        program, accuracy = _within_drop(program, part, reference, quantization=quantization, write=write)
    runtime = load_exported(part)
    inputs = samples if samples is not None else program.calibration
    in_every_size = _compared_in_every_size(report, runtime, program, reference)
    parity = in_every_size if inputs is None else compare(runtime.any_batch, reference, inputs.split(16))
    if accuracy is None:  # what int8 costs a classifier is told by its accuracy
        far = parity if report.precision == "int8" or parity.largest > in_every_size.largest else in_every_size
        if excess := far.excess(report.precision):
            raise InputError(f"{report.path}: {excess}: nothing written")
    return replace(
        report,
        shape=runtime.shape,
        parity=parity,
        real_images=inputs is not None,
        accuracy=accuracy,
        floating=_names_of(program),
    )


def _compared_in_every_size(report: Report, runtime: Runtime, program: Program, reference: nn.Module) -> Parity:
    """File and network on random inputs of what sizes the file takes; raises InputError where one of them can't."""
    if program.dynamic and runtime.shape[0] is not None:
        raise InputError(
            f"{report.path}: the network leaves no batch free: nothing written; --dynamic false fixes it at the "
            "example's"
        )
    try:
        return compare(runtime, reference, random_batches(program.example, runtime.shape))
    except InputError:
        raise
    except Exception as error:  # a size that the graph takes and the network's own code doesn't, or the other way round
        raise InputError(
            f"{report.path}: in another size than the example's ({first_line(error)}): nothing written; --dynamic "
            "false fixes the sizes"
        ) from error


def _within_drop(
    program: Program, part: Path, reference: nn.Module, *, quantization: Quantization, write: Write
) -> tuple[Program, Accuracy]:
    """The file at `part` with int8 that costs no more than allowed; layers go back to floating point where that is
    asked for.
    """
    info = program.description.network
    classes = {"network_classes": info["classes"], "num_classes": info["model_args"]["num_classes"]}
    floating = top1(reference, quantization, **classes)

    def measured() -> Accuracy:
        return Accuracy(
            floating, top1(load_exported(part).any_batch, quantization, **classes), len(quantization.validation)
        )

    accuracy = measured()
    if accuracy.drop <= quantization.max_drop:
        return program, accuracy
    costs = layer_costs(program.module, quantization.calibration)
    if not quantization.mixed:
        costliest = ", ".join(f"{name.removeprefix('network.')} {cost:.1%}" for name, cost in costs[:COSTLIEST])
        raise InputError(
            f"int8 top-1 {accuracy.int8:.2f} %, float32 {accuracy.floating:.2f} %: a drop of {accuracy.drop:.2f} "
            "points, expected at most "
            f"{quantization.max_drop:g} (--max_drop): nothing written; the layers that cost most: {costliest}; "
            "--mixed leaves the costliest in floating point"
        )
    layers = dict(quantizable_layers(program.module))
    count = 1
    while accuracy.drop > quantization.max_drop and count < len(costs):
        program = replace(program, floating=[layers[name].weight for name, _ in costs[:count]])
        write(program, part)
        accuracy, count = measured(), 2 * count
    if accuracy.drop > quantization.max_drop:
        raise InputError(
            f"int8 top-1 {accuracy.int8:.2f} % with {len(program.floating)} of {len(costs)} layers in floating point, "
            f"float32 {accuracy.floating:.2f} %, expected a drop of at most {quantization.max_drop:g} points "
            "(--max_drop): nothing written"
        )
    return program, accuracy


def _names_of(program: Program) -> tuple[str, ...]:
    weights = {id(weight) for weight in program.floating}
    return tuple(
        name.removeprefix("network.")
        for name, layer in quantizable_layers(program.module)
        if id(layer.weight) in weights
    )
