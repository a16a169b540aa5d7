"""`deploy`: the fastest form of a network on this machine, found by a short benchmark with a cached result."""

import copy
import hashlib
import json
import math
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import InputError, first_line
from ..ops.fusion import fuse
from ..system.files import write_text
from ..system.locks import alone
from ..system.machine import computes_bfloat16, describe_machine, multiplies_int8, warn_of_emulation
from . import backends
from .backends import BACKENDS, build, find_backend, installed_backends, versions
from .description import PRECISIONS
from .inputs import check_inputs
from .parity import compare
from .runtime import Runtime

WARM_UP, ROUNDS, SECONDS = 2, 30, 3.0
"""Of a trial: warmup calls, and maximum rounds and seconds for each form."""

TIMING = "minimum of interleaved rounds"
"""The timing method; results of other methods aren't reused."""

COMPARED = 32
"""Calibration inputs on which an int8 form is compared, because its ranges are chosen for them."""


@dataclass(frozen=True)
class Form:
    """A backend and a precision."""

    backend: str
    precision: str

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"


def deploy(
    model: nn.Module,
    example: Tensor,
    precision: str = "auto",
    *,
    backend: str = "auto",
    calibration: Tensor | None = None,
    cache: bool = True,
) -> Runtime:
    """Return the fastest form of the network on this machine as `runtime(x)`, with equal outputs; thread-safe.

    Installed backends are timed on the example; the result is cached by network, shape, processor and versions.

    Args:
        model: any network with one input and one output tensor.
        example: a float32 input of the shape to optimize for, with a batch of one or more.
        precision: fp32, bf16, fp16 or int8; auto: fp32, bf16 if the processor has it, int8 if `calibration` is given.
        backend: one of `BACKENDS`; auto: all that are installed, `compile` only without others, as it is slow to build.
        calibration: inputs (N, ...) for the ranges of int8 and for its comparison with the network.
        cache: use and store results of trials; False always times.

    Raises InputError if no form matches the network's outputs within the precision's tolerance.
    """
    model = fuse(copy.deepcopy(model))  # the caller's network must not change; all forms share this copy
    check_inputs(model, example, calibration=calibration)
    forms = candidates(precision, backend, example, calibrated=calibration is not None)
    key = trial_key(model, example, forms)
    kept = read_trials().get(key) if cache else None
    if kept:
        with suppress(InputError):  # the form may fail with the other weights of this structure
            return next(iter(build_forms([Form(**kept)], model, example, calibration=calibration).values()))
    runtimes = build_forms(forms, model, example, calibration=calibration)
    seconds = time_forms(runtimes, example) if len(runtimes) > 1 else dict.fromkeys(runtimes, 0.0)
    best = min(seconds, key=seconds.__getitem__)
    if cache and len(forms) > 1:
        keep_trial(key, best)
    return runtimes[best]


def candidates(precision: str, backend: str, example: Tensor, *, calibrated: bool) -> list[Form]:
    """The forms to compare; raises InputError for unknown names and unsupported combinations."""
    if precision not in ("auto", *PRECISIONS):
        raise InputError(f"precision {precision!r}, expected one of auto, {', '.join(PRECISIONS)}")
    if backend != "auto":
        names = [backend]
        find_backend(backend)
    elif example.is_cuda:
        names = ["eager", "compile"]
    else:
        names = [name for name in installed_backends() if name != "compile"]
        names += ["compile"] if names == ["eager"] else []
    wanted = (("fp32", "bf16", "int8") if calibrated else ("fp32", "bf16")) if precision == "auto" else (precision,)
    forms = [Form(name, kind) for name in names for kind in wanted if kind in BACKENDS[name].precisions]
    if not forms:
        raise InputError(
            f"precision {precision!r}, expected one of {', '.join(BACKENDS[names[0]].precisions)} for backend "
            f"{', '.join(names)}"
        )
    emulated = [
        form
        for form in forms
        if form.precision == "bf16" and not backends.computes_bfloat16(form.backend, example.device)
    ]
    if precision == "auto":
        return [form for form in forms if form not in emulated]
    if emulated == forms:
        warn_of_emulation("precision 'bf16'", "fp32 is faster and more accurate")
    return forms


def build_forms(
    forms: Sequence[Form], model: nn.Module, example: Tensor, *, calibration: Tensor | None
) -> dict[Form, Runtime]:
    """Build the forms that match the network within their precision's tolerance; raises InputError if none does."""
    runtimes, refusals = {}, []
    for form in forms:
        try:
            runtime = build(form.backend, model, example, precision=form.precision, calibration=calibration)
            runtime(example)  # fails for a graph captured with another batch size
            inputs = calibration[:COMPARED] if form.precision == "int8" else example
            excess = compare(runtime.any_batch, model, inputs.split(len(example))).excess(form.precision)
        except Exception as error:  # another library may be able to convert it
            excess = first_line(error)
        if excess:
            refusals.append(f"{form}: {excess}")
        else:
            runtime.name = str(form)
            runtimes[form] = runtime
    if not runtimes:
        raise InputError("; ".join(refusals))
    return runtimes


def time_forms(runtimes: dict[Form, Runtime], example: Tensor) -> dict[Form, float]:
    """The minimum seconds of each form, because other processes can only add time.

    Forms take turns, in reverse every other round, so that load, clock rates and caches affect all alike.
    """
    for runtime in runtimes.values():
        for _ in range(WARM_UP):
            runtime(example)
    seconds = dict.fromkeys(runtimes, math.inf)
    end = time.perf_counter() + SECONDS * len(runtimes)
    for turn in range(ROUNDS):
        for form in list(runtimes)[:: -1 if turn % 2 else 1]:
            start = time.perf_counter()
            runtimes[form](example)
            if example.is_cuda:
                torch.cuda.synchronize()
            seconds[form] = min(seconds[form], time.perf_counter() - start)
        if time.perf_counter() > end:
            break
    return seconds


def trial_key(model: nn.Module, example: Tensor, forms: list[Form]) -> str:
    """Hash of everything a trial's result depends on: network structure, shape, machine, versions."""
    about = {
        "network": repr(model),
        "shape": list(example.shape),
        "device": str(example.device),
        "machine": describe_machine(),  # processor names alone don't determine the instructions
        "instructions": [computes_bfloat16(), multiplies_int8()],
        "threads": torch.get_num_threads(),
        "timing": TIMING,
        "forms": sorted(map(str, forms)),
        "versions": versions(),
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def trials_file() -> Path | None:
    """The cache file, in XDG_CACHE_HOME or ~/.cache; None if there is no home folder."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "metamixer", "fastest.json")
    except RuntimeError:
        return None


def read_trials() -> dict[str, dict[str, str]]:
    """Cached results; none if the file is missing or invalid."""
    path = trials_file()
    try:
        content = json.loads(path.read_text()) if path else {}
        return {
            key: form
            for key, form in content.items()
            if form["backend"] in BACKENDS and form["precision"] in PRECISIONS
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def keep_trial(key: str, form: Form) -> None:
    """Store a result; without a writable cache the next call times again."""
    path = trials_file()
    if path is None:
        return
    with suppress(OSError, InputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path):
            trials = {**read_trials(), key: {"backend": form.backend, "precision": form.precision}}
            write_text(path, json.dumps(trials, indent=1))
