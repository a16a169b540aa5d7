"""What all predictors share: loading, and where and how their network computes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from ..checkpoints.source import load_network, weights_name
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
"""Backends for networks that take or give several tensors, which no other backend holds."""


class Predictor(ABC):
    """A network in deploy form, on a device, in a backend and a precision: `Predictor.load(source)(input)`.

    A kind of predictor says what it makes of a network and its info (`of`), what its inputs are (`inputs`), and what it
    makes of one (`result`). It calls `self.run` with tensors on `self.device`, under `self.computing()`.

    network: the fused module, or the `Runtime` of an exported file; run: the same in its backend.
    """

    task: ClassVar[str]
    """Of the networks that it loads."""

    memory_format: ClassVar[torch.memory_format] = torch.preserve_format
    """Of the network's weights."""

    precision = torch.float32
    """In which PyTorch computes; a backend has its own."""

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
        """From a file or a name.

        Args:
            source: a checkpoint, ours or a published one; a file of `metamixer export`, which its own library runs; a
                network's name.
            model: the network's name, which published files need; without a source its own weights are taken, and
                without either those of `metamixer models` that are in the package, else the smallest published ones.
            device: where to compute, such as cpu or cuda.
            backend: one of `metamixer.deploy`, or auto for the fastest; None: PyTorch.
            precision: fp32 or bf16; with a backend also the others of `metamixer.deploy`.
            checkpoint: another name of `source`.
            settings: what this kind of predictor takes beside.

        Raises InputError that names what can't be read, or doesn't fit.
        """
        source = checkpoint if source is None else source
        find_device(device)
        check_backend(backend, precision)
        if source is None:
            source, model = weights_name(model, cls.task), None
        network, info = load_network(source, model, cls.task)
        try:
            predictor = cls.of(network, info, **settings)
        except InputError as error:
            raise InputError(f"{source}: {error}") from None
        predictor.to(device)
        predictor.deploy(backend, precision)
        return predictor

    @classmethod
    @abstractmethod
    def of(cls, network: Network, info: Mapping[str, Any]) -> Self:
        """From a network and what is known of it, as `load_network` gives them; raises InputError where too little is
        known.
        """

    @abstractmethod
    def inputs(self, given: Any) -> Any | list[Any]:
        """What was given as one input, or as a list of several."""

    @abstractmethod
    def result(self, x: Any, **options) -> Any:
        """The prediction for one of the inputs."""

    def __call__(self, given: Any, **options) -> Any:
        """One result for a path, a URL or what they hold; a list of results for a folder or several of these."""
        found = self.inputs(given)
        if isinstance(found, list):
            return [self.result(x, **options) for x in found]
        return self.result(found, **options)

    def example(self) -> Tensor | None:
        """An input of the network, on which backends are built and timed; None where it takes or gives several
        tensors.
        """
        return None

    @property
    def device(self) -> torch.device:
        """Where inputs go; an exported file takes them from the processor."""
        parameters = self.network.parameters() if isinstance(self.network, nn.Module) else ()
        return next((parameter.device for parameter in parameters), torch.device("cpu"))

    def hold(self, network: Network) -> None:
        """Predict with this network from now on, in deploy form, in PyTorch; an exported file stays as it is."""
        self.network = fuse(network).to(memory_format=self.memory_format) if isinstance(network, nn.Module) else network
        self.run = running(self.network)

    def to(self, device: str) -> None:
        """Compute on another device, in PyTorch; raises InputError for an exported file on one that isn't the
        processor.
        """
        place = find_device(device)
        if isinstance(self.network, nn.Module):
            self.run = self.network.to(place)
        elif place.type != "cpu":
            raise InputError(f"device {device!r}, expected cpu for an exported file, which its own library runs")

    def deploy(self, backend: str | None, precision: str = "fp32", **example) -> None:
        """Compute in a backend of `metamixer.deploy`, auto for the fastest, None for PyTorch; example: keywords of
        `example`.
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
                f"backend {backend!r}, expected one of {', '.join(IN_PYTORCH)} for {self.task}: several tensors in "
                "or out"
            )

    def computing(self) -> torch.autocast:
        """`with self.computing():` around calls of `self.run`."""
        return computing_in(self.precision, self.device)


def running(network: Network) -> Callable[[Any], Any]:
    """What is called for a network's answer, for any batch."""
    return network.any_batch if isinstance(network, Runtime) else network


def check_backend(backend: str | None, precision: str) -> None:
    """Refuse names that there aren't, before anything is loaded for them."""
    if backend is None:
        find_precision(precision)
    elif backend != "auto":
        find_backend(backend)
    if precision not in ("auto", *PRECISIONS):
        raise InputError(f"precision {precision!r}, expected one of auto, {', '.join(PRECISIONS)}")


def preprocessing_of(kind: type[Settings], info: Mapping[str, Any]) -> Settings:
    """A network's preprocessing; raises InputError where none is known, or it can't be read."""
    values = info.get("preprocessing")
    if not values:
        raise InputError(
            "doesn't tell its preprocessing, expected a checkpoint that metamixer wrote or a published network"
        )
    try:
        return kind.from_dict(values)
    except (AttributeError, TypeError):
        raise InputError("its preprocessing can't be read, expected a file that metamixer wrote") from None


def class_names(info: Mapping[str, Any], num_classes: int) -> list[str]:
    """The names of a network's classes, or their numbers."""
    return list(info.get("classes") or map(str, range(num_classes)))


def _expect_own(backend: str | None, precision: str) -> None:
    for name, value, own in (("backend", backend, None), ("precision", precision, "fp32")):
        if value != own:
            raise InputError(f"{name} {value!r}, expected none for an exported file, which brings its own")
