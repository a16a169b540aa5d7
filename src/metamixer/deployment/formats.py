"""The file formats of `metamixer export`; their packages are imported on first use."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from ..errors import InputError
from ..system.files import expect_file
from .runtime import Runtime


@dataclass(frozen=True)
class Format:
    """A file format.

    suffix: of its files; module: file in `runtimes` with `write(program, path)` and `read(path)`; packages: required
    packages, installed by the extra of the format's name; for_int8: further ones that quantization requires;
    precisions: supported ones, the default first; runs_on: the only `sys.platform` that can run it, None for all;
    sides: suffixes of additional files; package: whether it is a folder that looks like a file.
    """

    suffix: str
    module: str
    packages: tuple[str, ...]
    precisions: tuple[str, ...]
    for_int8: tuple[str, ...] = ()
    runs_on: str | None = None
    sides: tuple[str, ...] = ()
    package: bool = False

    def packages_for(self, precision: str) -> tuple[str, ...]:
        """The packages that building a network in this precision requires."""
        return (*self.packages, *self.for_int8) if precision == "int8" else self.packages


FORMATS: dict[str, Format] = {
    "onnx": Format(".onnx", "onnx", ("onnx", "onnxscript", "onnxruntime"), ("fp32", "fp16", "int8")),
    "openvino": Format(
        ".xml", "openvino", ("openvino",), ("fp32", "bf16", "fp16", "int8"), for_int8=("nncf",), sides=(".bin",)
    ),
    "coreml": Format(".mlpackage", "coreml", ("coremltools",), ("fp16", "fp32"), runs_on="darwin", package=True),
    "executorch": Format(".pte", "executorch", ("executorch",), ("fp32", "fp16")),
    "litert": Format(".tflite", "litert", ("litert_torch", "ai_edge_litert"), ("fp32",)),
    "torch": Format(".pt2", "torch_program", (), ("fp32", "bf16", "fp16")),
}


def find_format(name: str) -> Format:
    """Find a format by name; raises InputError for an unknown one."""
    if name not in FORMATS:
        raise InputError(f"format {name!r}, expected one of {', '.join(FORMATS)}")
    return FORMATS[name]


def is_exported(path: str | Path) -> bool:
    """Whether a path has the suffix of a format."""
    return Path(path).suffix in {format.suffix for format in FORMATS.values()}


def load_exported(path: str | Path) -> Runtime:
    """Load an exported file in its own runtime; `.description` describes its network.

    Raises InputError that names the file if it is missing, truncated or not from `metamixer export`.
    """
    path = Path(path)
    for name, format in FORMATS.items():
        if path.suffix == format.suffix:
            if not (format.package and path.is_dir()):
                expect_file(path)
            return import_form(name, format.module, format.packages).read(path)
    raise InputError(
        f"{path}: expected a name that ends in one of {', '.join(format.suffix for format in FORMATS.values())}"
    )


def files_of(path: str | Path) -> list[Path]:
    """All files of an exported network: the one at `path`, or those in it, and those next to it."""
    path = Path(path)
    sides = next((format.sides for format in FORMATS.values() if format.suffix == path.suffix), ())
    main = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return [*main, *(path.with_suffix(side) for side in sides)]


def import_form(name: str, module: str, packages: tuple[str, ...]) -> ModuleType:
    """Import the module of a format or backend; raises InputError with the install command if packages are missing."""
    missing = missing_packages(packages)
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise InputError(f"{name}: {', '.join(missing)} {verb} not installed: pip install 'metamixer[{name}]'")
    return import_module(f"{__package__}.runtimes.{module}")


def missing_packages(packages: tuple[str, ...]) -> list[str]:
    """The packages that can't be imported."""
    return [package for package in packages if find_spec(package) is None]
