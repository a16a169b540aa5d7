"""Export of a network to a file with verified outputs, or to no file at all."""

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
    """The result of an export.

    parity: None if the file can't run on this platform; accuracy: of int8; floating: layers that an int8 file keeps in
    floating point.
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
        """The report as plain values that JSON supports."""
        values = {**asdict(self), "path": str(self.path), "status": self.status}
        return {key: value for key, value in values.items() if value not in (None, ())}

    @property
    def status(self) -> str:
        """The extent to which the file was verified."""
        if not self.parity:
            return f"not verifiable on this platform ({sys.platform}); only its structure was checked"
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
    """Fuse a network, write it in one of `FORMATS` and verify the file's outputs; if they differ, write nothing.

    The file takes images in [0, 1]: it includes the normalization of `info["preprocessing"]`, but not resizing.

    Args:
        network: any module with one input and one output tensor.
        out: the file to write, atomically.
        info: the network's info (`network_info`), which is stored in the file, with class names.
        example: an input of the file, (B, ...); None: one that fits the preprocessing.
        precision: one of the format's; None: its default, or int8 if `quantization` is given.
        dynamic: allow any batch size and, if the format permits, any image size; else both are the example's.
        samples: real inputs (N, ...) of the file for the comparison; None: random ones.
        quantization: how to quantize the network to int8; None: floating point.
        overwrite: replace existing files.
    """
    kind, out = find_format(format), Path(out)
    precision = _precision(format, kind, precision, quantization)
    form = import_form(format, kind.module, kind.packages_for(precision))
    check_out(out, kind, overwrite=overwrite)
    info = {**(info or {}), "fused": True}
    example = example_of(network, info) if example is None else example
    calibration = quantization.calibration if quantization else None
    network = copy.deepcopy(network)  # the caller's network must not change
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
    """Write a program in a format; raises InputError with the library's message if it can't represent the network."""
    try:
        write(program, path)
    except (InputError, OSError):
        raise
    except Exception as error:
        raise InputError(
            f"format {name!r} can't represent this network ({first_line(error)}): nothing written"
        ) from error


def with_preprocessing(network: nn.Module, info: dict[str, Any]) -> nn.Module:
    """The network with the normalization that it was trained with, if it has one."""
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
            f"precision {precision!r}, expected int8 exactly if a calibration folder is given: --int8 "
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
    """The report with the comparison of the file `part` and the network; raises InputError if they differ too much."""
    accuracy = None
    if quantization and quantization.validation is not None:
        program, accuracy = _within_drop(program, part, reference, quantization=quantization, write=write)
    runtime = _loaded(part, report)
    inputs = samples if samples is not None else program.calibration
    in_every_size = _compared_in_every_size(report, runtime, program, reference)
    parity = in_every_size if inputs is None else compare(runtime.any_batch, reference, inputs.split(16))
    if accuracy is None:  # an int8 classifier is judged by its accuracy
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


def _loaded(part: Path, report: Report) -> Runtime:
    """The file `part` in its runtime; raises InputError if that lacks an operator of it."""
    try:
        return load_exported(part)
    except InputError as error:
        raise InputError(
            f"format {report.format!r}: its runtime can't load this network ({first_line(error.__cause__ or error)}): "
            "nothing written"
        ) from error


def _compared_in_every_size(report: Report, runtime: Runtime, program: Program, reference: nn.Module) -> Parity:
    """Compare file and network on random inputs of all sizes that the file allows; raises InputError if one fails."""
    if program.dynamic and runtime.shape[0] is not None:
        raise InputError(
            f"{report.path}: the network fixes the batch size: nothing written; --dynamic false fixes it at "
            "the example's"
        )
    try:
        return compare(runtime, reference, random_batches(program.example, runtime.shape))
    except InputError:
        raise
    except Exception as error:  # the graph accepts a size that the network doesn't, or vice versa
        raise InputError(
            f"{report.path}: in another size than the example's ({first_line(error)}): nothing written; --dynamic "
            "false fixes the sizes"
        ) from error


def _within_drop(
    program: Program, part: Path, reference: nn.Module, *, quantization: Quantization, write: Write
) -> tuple[Program, Accuracy]:
    """Make the int8 file `part` meet the allowed drop of accuracy, with `mixed` by keeping layers in floating point."""
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
            f"points, expected at most {quantization.max_drop:g} (--max_drop): nothing written; the costliest layers: "
            f"{costliest}; --mixed keeps the costliest in floating point"
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
