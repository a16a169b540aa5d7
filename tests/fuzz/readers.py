"""Every function of the package that reads a file, found in its source, and those that a campaign calls."""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import metamixer

PACKAGE = Path(metamixer.__file__).parent
OPENERS = {
    *("read_text", "read_bytes", "ZipFile", "is_zipfile", "safe_open", "load_file", "open_memmap", "read_csv"),
    *("read_parquet", "ParquetFile", "open_csv", "SafeLoader", "safe_load", "load_from_string", "read_model"),
    *("InferenceSession", "decode_image"),
}
"""Names of calls that read a file, whatever they belong to."""
OWNED = {("np", "load"), ("torch", "load"), ("json", "load"), ("parquet", "read_table")}
"""Names that do so only in these modules."""

ELSEWHERE = {
    "system/downloads.py": "the cache of downloads, which this package wrote; tests/test_hub.py",
    "system/machine.py": "files of the system, such as /proc/cpuinfo",
    "data/restoration/degradation.py": "an image that was compressed in memory a moment before",
    "bench/processes.py": "files of the system, such as /proc/self/status",
    "training/zero_shot.py": "the training of the packaged forecaster, no command",
    "training/run_folder.py": "whether a log of the run's own is empty",
    "checkpoints/hub.py": "a configuration that timm wrote a moment before",
    "data/images/given.py": "the answer of a URL, decoded as an image is",
    "predictors/forecasting/forecast.py": "a plot that was drawn a moment before",
    "predictors/point_labels.py": "only writes",
    "engine/outputs.py": "an image that was written a moment before",
    "engine/ray.py": "answers of its own processes",
    "system/worker.py": "answers of its own processes",
    "data/points/las_worker.py": "runs in a process of its own, asked by data/points/las.py",
    "deployment/runtimes/onnx_worker.py": "runs in a process of its own, asked by deployment/runtimes/onnx.py",
    "deployment/runtimes/openvino_worker.py": "runs in a process of its own, asked by deployment/runtimes/openvino.py",
    "deployment/runtimes/onnx.py:__init__": "a network that was converted a moment before",
    "deployment/runtimes/executorch.py": "needs a package that isn't in the tests' environment",
    "deployment/runtimes/litert.py": "needs a package that isn't in the tests' environment",
}
"""Modules, and functions of them, whose files are none that a user gives, or that are read by another, and why."""


def reading_functions() -> set[str]:
    """`file.py:function` of all functions that read files, but those of ELSEWHERE."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        name = str(path.relative_to(PACKAGE))
        if name not in ELSEWHERE:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
            found |= {f"{name}:{function.name}" for function in functions if any(map(_reads, _own_calls(function)))}
    return found - set(ELSEWHERE)


def _own_calls(function: ast.FunctionDef) -> Iterator[ast.Call]:
    """The calls in a function, without those of functions in it."""
    left: list[ast.AST] = [*function.body]
    while left:
        node = left.pop()
        if isinstance(node, ast.Call):
            yield node
        if not isinstance(node, ast.FunctionDef):
            left.extend(ast.iter_child_nodes(node))


def _reads(call: ast.Call) -> bool:
    owner, name = "", ""
    if isinstance(call.func, ast.Name):
        name = call.func.id
    elif isinstance(call.func, ast.Attribute):
        name = call.func.attr
        owner = call.func.value.id if isinstance(call.func.value, ast.Name) else ""
    if name == "open":
        words = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
        return owner != "os" and not any(isinstance(word, str) and word[:1] in "wax" for word in words)
    return name in OPENERS or (owner, name) in OWNED


def called_functions(work: Callable[[], Any]) -> set[str]:
    """`file.py:function` of the package's functions that `work` calls."""
    called: set[str] = set()
    start = f"{PACKAGE}/"

    def note(frame, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(start):
            called.add(f"{frame.f_code.co_filename[len(start) :]}:{frame.f_code.co_name}")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return called
