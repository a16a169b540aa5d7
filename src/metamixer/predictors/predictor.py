"""The base class of all predictors: loading, device, backend, precision."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, signature
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from ..checkpoints.source import expect_source, load_network, weights_name
from ..data.preprocessing import Kept
from ..deployment.backends import find_backend
from ..deployment.description import PRECISIONS
from ..deployment.fastest import deploy
from ..deployment.runtime import Runtime
from ..errors import InputError
from ..ops.fusion import fuse
from ..system.device import computing_in, find_device, find_precision

Network = nn.Module | Runtime | Callable[[Tensor], Tensor]
Settings = TypeVar("Settings", bound=Kept)
IN_PYTORCH = ("eager", "auto")
"""Backends for networks with several input or output tensors, which the others don't support."""


class Predictor(ABC):
    """A fused network on a device, in a backend and a precision: `Predictor.load(source)(input)`.

    A subclass defines how it is built from a network and its info (`of`), which inputs it accepts (`inputs`) and its
    prediction for one input (`result`). It calls `self.run` with tensors on `self.device`, in `self.computing()`.

    network: the fused module, or the `Runtime` of an exported file; run: the network in its backend.
    """

    task: ClassVar[str]
    """Task of the networks that it loads."""

    memory_format: ClassVar[torch.memory_format] = torch.preserve_format
    """Memory format of the network's weights."""

    precision = torch.float32
    """The precision of PyTorch; backends have their own."""

    source: str | None = None
    """The file or name that it was loaded from."""

    def __init__(self, network: Network, *, precision: str = "fp32"):
        self.precision = find_precision(precision)
        self.hold(network)

    @classmethod
    def load(
        cls,
        source: str | Path | None = None,
        *,
        model: str | None = None,
        device: str = "cpu",
        backend: str | None = None,
        precision: str = "fp32",
        checkpoint: str | Path | None = None,
        **settings,
    ) -> Self:
        """Load a predictor from a file or by name.

        Args:
            source: a checkpoint, ours or a published one; a file of `metamixer export`, which runs in its own runtime;
                or a network's name.
            model: the network's name, needed for published files. Without `source`, its own weights are used; without
                either, the task's packaged weights, or the smallest published ones.
            device: the device to compute on, such as cpu or cuda.
            backend: a backend of `metamixer.deploy`, or auto for the fastest; None: PyTorch.
            precision: fp32 or bf16; with a backend, any precision of `metamixer.deploy`.
            checkpoint: alias of `source`.
            settings: further options of this predictor.

        Raises InputError that names an unreadable or unsuitable source.
        """
        expect_keywords(cls, settings)
        source = checkpoint if source is None else source
        find_device(device)
        check_backend(backend, precision)
        if source is None:
            source, model = weights_name(model, cls.task), None
        elif model is None:
            expect_source(source)
        network, info = load_network(source, model, cls.task)
        try:
            predictor = cls.of(network, info, **settings)
        except InputError as error:
            raise InputError(f"{source}: {error}") from None
        predictor.source = str(source)
        predictor.to(device)
        predictor.deploy(backend, precision)
        return predictor

    @classmethod
    @abstractmethod
    def of(cls, network: Network, info: Mapping[str, Any]) -> Self:
        """Build from a network and its info (`load_network`); raises InputError if the info is incomplete."""

    @abstractmethod
    def inputs(self, given: Any) -> Any | list[Any]:
        """The input, or a list of several."""

    @abstractmethod
    def result(self, x: Any, **options) -> Any:
        """The prediction for one of the inputs."""

    def __repr__(self) -> str:
        source = [] if self.source is None else [repr(self.source)]
        settings = [f"{name}={value!r}" for name, value in self.settings().items()]
        return f"{type(self).__name__}({', '.join(source + settings)})"

    def settings(self) -> Mapping[str, Any]:
        """What `repr` shows besides the source."""
        return {}

    def __call__(self, given: Any, **options) -> Any:
        """One result for a path, a URL or their content; a list of results for a folder or a list of inputs."""
        found = self.inputs(given)
        if isinstance(found, list):
            return [self.result(x, **options) for x in found]
        return self.result(found, **options)

    def example(self) -> Tensor | None:
        """An example input, with which backends are built and timed; None for networks with several tensors."""
        return None

    @property
    def device(self) -> torch.device:
        """The device of inputs; the CPU for exported files."""
        parameters = self.network.parameters() if isinstance(self.network, nn.Module) else ()
        return next((parameter.device for parameter in parameters), torch.device("cpu"))

    def hold(self, network: Network) -> None:
        """Set the network; a PyTorch network is fused, an exported file is left unchanged."""
        self.network = fuse(network).to(memory_format=self.memory_format) if isinstance(network, nn.Module) else network
        self.run = running(self.network)

    def to(self, device: str) -> None:
        """Move to a device, in PyTorch; raises InputError for an exported file on anything but the CPU."""
        place = find_device(device)
        if isinstance(self.network, nn.Module):
            self.run = self.network.to(place)
        elif place.type != "cpu":
            raise InputError(f"device {device!r}, expected cpu for an exported file, which runs in its own runtime")

    def deploy(self, backend: str | None, precision: str = "fp32", **example) -> None:
        """Switch to a backend of `metamixer.deploy`, auto for the fastest, None for PyTorch.

        example: keywords of the method `example`.
        """
        check_backend(backend, precision)
        if not isinstance(self.network, nn.Module):
            _expect_own(backend, precision)
            return
        x = self.example(**example) if backend else None
        if x is not None:
            self.precision = torch.float32
            self.run = running(deploy(self.network, x.to(self.device), precision, backend=backend))
        elif backend in (None, *IN_PYTORCH):
            self.precision = find_precision(precision)
            self.run = self.network
        else:
            raise InputError(
                f"backend {backend!r}, expected one of {', '.join(IN_PYTORCH)} for {self.task}, whose networks "
                "have several inputs or outputs"
            )

    def computing(self) -> torch.autocast:
        """The context for calls of `self.run`: `with self.computing():`."""
        return computing_in(self.precision, self.device)


def expect_keywords(predictor: type[Predictor], settings: Iterable[str]) -> None:
    """Raise InputError for a keyword that neither `load` nor `of` of a predictor has."""
    methods = [vars(base).get(name) for base in predictor.__mro__ for name in ("load", "of")]
    parameters = chain.from_iterable(signature(each.__func__).parameters.values() for each in methods if each)
    known = dict.fromkeys(each.name for each in parameters if each.kind is Parameter.KEYWORD_ONLY)
    for name in settings:
        if name not in known:
            raise InputError(f"{predictor.__name__}.load: keyword {name!r}, expected one of {', '.join(known)}")


def running(network: Network) -> Callable[[Any], Any]:
    """The function that runs a network on any batch size."""
    return network.any_batch if isinstance(network, Runtime) else network


def check_backend(backend: str | None, precision: str) -> None:
    """Raise InputError for unknown names, before anything is loaded."""
    if backend is None:
        find_precision(precision)
    elif backend != "auto":
        find_backend(backend)
    if precision not in ("auto", *PRECISIONS):
        raise InputError(f"precision {precision!r}, expected one of auto, {', '.join(PRECISIONS)}")


def preprocessing_of(kind: type[Settings], info: Mapping[str, Any]) -> Settings:
    """The preprocessing in a network's info; raises InputError if it is missing or invalid."""
    values = info.get("preprocessing")
    if not values:
        raise InputError("has no preprocessing, expected a checkpoint written by metamixer or a published network")
    try:
        return kind.from_dict(values)
    except (AttributeError, TypeError):
        raise InputError("its preprocessing is invalid, expected a file written by metamixer") from None


def class_names(info: Mapping[str, Any], num_classes: int) -> list[str]:
    """Class names of a network, or the indices if it has none."""
    return list(info.get("classes") or map(str, range(num_classes)))


def _expect_own(backend: str | None, precision: str) -> None:
    for name, value, own in (("backend", backend, None), ("precision", precision, "fp32")):
        if value != own:
            raise InputError(f"{name} {value!r}, expected none: an exported file has its own")
