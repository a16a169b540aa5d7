"""Evaluation on all or a part of a network's classes, by their names; ImageNet's go by synset or by description."""

from collections.abc import Sequence

import torch
from timm.data import ImageNetInfo
from torch import Tensor

from ...errors import InputError

IMAGENET_CLASSES = 1000


def match_classes(data: Sequence[str], network: Sequence[str] | None, num_classes: int) -> list[int] | None:
    """The network's number of each of the data's classes; None where they are the same.

    data, network: class names by number; a network of 1000 classes that tells no names has ImageNet's.
    Raises InputError where the data holds a class that the network doesn't know.
    """
    if num_classes == IMAGENET_CLASSES:
        data, network = as_synsets(data), as_synsets(network) if network else ImageNetInfo("imagenet-1k").label_names()
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
    """ImageNet's descriptions of its classes as their synsets; other names as they are."""
    info = ImageNetInfo("imagenet-1k")
    descriptions = info.label_descriptions()
    if list(names) == descriptions:
        return info.label_names()
    synsets: dict[str, str] = {}
    for description, synset in zip(descriptions, info.label_names(), strict=True):
        # Two classes are called crane; the Hugging Face hub's data set calls the second one crane2.
        synsets[f"{description}2" if description in synsets else description] = synset
    return [synsets.get(name, name) for name in names]


def imagenet_names(num_classes: int) -> list[str]:
    """ImageNet-1K's class descriptions; for another number of classes their numbers."""
    if num_classes != 1000:
        return [str(index) for index in range(num_classes)]
    info = ImageNetInfo("imagenet-1k")
    return [info.index_to_description(index) for index in range(num_classes)]


def keep_classes(logits: Tensor, labels: Tensor, indices: list[int]) -> tuple[Tensor, Tensor]:
    """Only the given classes can win; labels, numbered within them, become the network's own."""
    index = torch.tensor(indices, device=logits.device)
    outside = torch.full_like(logits, torch.finfo(logits.dtype).min)
    return outside.index_copy(1, index, logits[:, index]), index[labels]
