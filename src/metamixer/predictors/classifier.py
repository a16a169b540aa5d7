"""Pictures in, classes and probabilities out."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checkpoints.ours import expect_task, load_ours
from ..checkpoints.published import load_published
from ..data.images.class_names import imagenet_names
from ..data.images.reading import Picture, read_image
from ..data.preprocessing import Preprocessing, without_normalization
from ..deployment.fastest import deploy
from ..deployment.formats import is_exported, load_exported
from ..errors import InputError
from ..models import create_model
from ..models.registry import expect_classifier
from ..models.tasks import CLASSIFICATION
from ..system.device import find_device


class Classifier:
    """A network with its preprocessing and class names: `Classifier.load(checkpoint="best.ckpt")(["cat.jpg"])`."""

    def __init__(self, network: nn.Module | Callable[[Tensor], Tensor], preprocessing: Preprocessing, classes: Sequence[str]):
        self.network = network.eval() if isinstance(network, nn.Module) else network
        self.device = torch.device("cpu")
        self.preprocessing = preprocessing
        self.transform = preprocessing.transform()
        self.classes = list(classes)

    @classmethod
    def load(cls, *, model: str | None = None, checkpoint: str | Path | None = None) -> "Classifier":
        """From a checkpoint of ours or an exported file; from a published one, with its `model`; or the published weights of `model`."""
        if checkpoint is None:
            if model is None:
                raise InputError("no network, expected a model name, a checkpoint or both")
            return cls.of_imagenet(published_classifier(model))
        if is_exported(checkpoint):
            return cls.of_exported(checkpoint, model=model)
        ours = load_ours(checkpoint, task=CLASSIFICATION.name, model=model)
        if ours is None:
            expect_classifier(model)
            return cls.of_imagenet(load_published(create_model(model), checkpoint))
        network, info = ours
        preprocessing = Preprocessing.from_dict(info["preprocessing"])
        classes = info["classes"] or imagenet_names(info["model_args"]["num_classes"])
        return cls(network, preprocessing, classes)

    @classmethod
    def of_imagenet(cls, network: nn.Module) -> "Classifier":
        """A timm network with ImageNet's classes, which knows its own preprocessing."""
        own = network.pretrained_cfg
        keys = ("crop_pct", "interpolation", "mean", "std")
        preprocessing = Preprocessing(size=own["input_size"][-1], **{key: own[key] for key in keys})
        return cls(network, preprocessing, imagenet_names(network.num_classes))

    @classmethod
    def of_exported(cls, path: str | Path, *, model: str | None = None) -> "Classifier":
        """A file of `metamixer export`, of `model` where that is given, run by its own library; the normalisation is in the file."""
        runtime = load_exported(path)
        known = runtime.description.network
        if "task" in known:
            expect_task(known, CLASSIFICATION.name, path)
        classes = known.get("classes") or imagenet_names(known.get("model_args", {}).get("num_classes", 0))
        if not known.get("preprocessing") or not classes:
            raise InputError(f"{path}: doesn't tell preprocessing and classes, expected an exported classifier")
        if model not in (None, known.get("model")):
            raise InputError(f"{path}: a file of {known.get('model')}, expected {model}")
        try:
            preprocessing = Preprocessing.from_dict(known["preprocessing"])
        except (AttributeError, TypeError):
            raise InputError(f"{path}: its preprocessing can't be read, expected a file that metamixer export wrote") from None
        return cls(runtime.any_batch, without_normalization(preprocessing), classes)

    def to(self, device: str) -> None:
        """Compute on another device."""
        self.device = find_device(device)
        if isinstance(self.network, nn.Module):
            self.network.to(self.device)

    def deploy(self, backend: str, *, batch_size: int = 1) -> None:
        """Run the network in a backend of `metamixer.deploy`, or the fastest ("auto") for batches of such a size, in float32."""
        if not isinstance(self.network, nn.Module):
            raise InputError(f"backend {backend!r}, expected none for an exported file, which brings its own")
        shape = (batch_size, self.preprocessing.in_chans, self.preprocessing.size, self.preprocessing.size)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))  # as pictures are once they are normalised
        self.network = deploy(self.network, noise.to(self.device), "fp32", backend=backend)

    def read(self, picture: Picture) -> Tensor:
        """A picture as the network takes it (C, H, W), turned upright by its EXIF remark; raises InputError that names it."""
        name = str(picture) if isinstance(picture, str | Path) else "image"
        return self.transform(read_image(picture, mode=self.preprocessing.mode, name=name))

    def __call__(self, pictures: Sequence[Picture]) -> Tensor:
        """pictures: paths or Pillow images -> probabilities (N, classes)."""
        if len(pictures) == 0:
            raise InputError("no pictures, expected at least one")
        return self.probabilities([self.read(picture) for picture in pictures])

    @torch.inference_mode()
    def probabilities(self, images: Sequence[Tensor]) -> Tensor:
        """images: as `read` gives them -> probabilities (N, classes)."""
        return self.network(torch.stack(list(images)).to(self.device)).softmax(dim=1).cpu()

    def top(self, pictures: Sequence[Picture], k: int = 5, *, batch_size: int = 32) -> Iterator[list[tuple[str, float]]]:
        """For each picture the k likeliest classes with their probabilities, likeliest first."""
        for start in range(0, len(pictures), batch_size):
            yield from self.likeliest(self(pictures[start : start + batch_size]), k)

    def likeliest(self, probabilities: Tensor, k: int) -> list[list[tuple[str, float]]]:
        """probabilities: (N, classes) -> for each row the k likeliest classes with theirs, likeliest first."""
        shares, indices = probabilities.topk(min(k, len(self.classes)))
        rows = zip(indices.tolist(), shares.tolist(), strict=True)
        return [[(self.classes[index], share) for index, share in zip(*row, strict=True)] for row in rows]


def published_classifier(model: str) -> nn.Module:
    """A network with its published weights; raises InputError where it is no classifier or they can't be fetched."""
    expect_classifier(model)
    return create_model(model, pretrained=True)
