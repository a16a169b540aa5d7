"""Evaluation on all or some of a network's classes, matched by name; ImageNet's by synset or description."""

from collections.abc import Sequence

import torch
from timm.data import ImageNetInfo
from torch import Tensor

from ...errors import InputError

IMAGENET_CLASSES = 1000


def match_classes(data: Sequence[str], network: Sequence[str] | None, num_classes: int) -> list[int] | None:
    """The network's index of each of the data's classes; None if the classes are the same.

    data, network: class names in index order; a network with 1000 classes and no names has ImageNet's.
    Raises InputError for a class of the data that the network doesn't have.
    """
    if network is None and num_classes == IMAGENET_CLASSES:
        network = ImageNetInfo("imagenet-1k").label_names()
    if network is not None:
        data, network = as_synsets(data), as_synsets(network)
    if network is None or list(data) == list(network):
        if len(data) != num_classes:
            raise InputError(f"data of {len(data)} classes, expected {num_classes}, the network's number of classes")
        return None
    number = {name: i for i, name in enumerate(network)}
    unknown = [name for name in data if name not in number]
    if unknown:
        raise InputError(
            f"class {unknown[0]!r} (and {len(unknown) - 1} more of {len(data)}) is none of the network's "
            f"{len(network)} classes, "
            f"expected names such as {network[0]!r}"
        )
    return [number[name] for name in data]


def as_synsets(names: Sequence[str]) -> list[str]:
    """Replace ImageNet's class descriptions by synsets; other names stay as they are."""
    info = ImageNetInfo("imagenet-1k")
    descriptions = info.label_descriptions()
    if list(names) == descriptions:
        return info.label_names()
    synsets: dict[str, str] = {}
    for description, synset in zip(descriptions, info.label_names(), strict=True):
        # Two classes are called crane; the data set on the Hugging Face hub calls the second one crane2.
        synsets[f"{description}2" if description in synsets else description] = synset
    return [synsets.get(name, name) for name in names]


def imagenet_names(num_classes: int) -> list[str]:
    """ImageNet-1K's class descriptions; the indices for another number of classes."""
    if num_classes != 1000:
        return [str(index) for index in range(num_classes)]
    info = ImageNetInfo("imagenet-1k")
    return [info.index_to_description(index) for index in range(num_classes)]


def keep_classes(logits: Tensor, labels: Tensor, indices: list[int]) -> tuple[Tensor, Tensor]:
    """Mask the logits of all other classes, and map labels to the network's indices."""
    index = torch.tensor(indices, device=logits.device)
    outside = torch.full_like(logits, torch.finfo(logits.dtype).min)
    return outside.index_copy(1, index, logits[:, index]), index[labels]
