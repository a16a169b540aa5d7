"""Evaluation on a part of a network's classes, as ImageNet-A, -R and -Sketch have them: folders named by synset."""

from collections.abc import Sequence

from timm.data import ImageNetInfo

from ..errors import InputError

IMAGENET_CLASSES = 1000


def match_classes(data: Sequence[str], network: Sequence[str] | None, num_classes: int) -> list[int] | None:
    """The network's number of each of the data's classes; None where they are the same.

    data, network: class names by number; a network of 1000 classes that tells no names has ImageNet's synsets.
    Raises InputError where the data holds a class that the network doesn't know.
    """
    if network is None and num_classes == IMAGENET_CLASSES:
        network = ImageNetInfo("imagenet-1k").label_names()
    if network is None or list(data) == list(network):
        if len(data) != num_classes:
            raise InputError(f"data of {len(data)} classes, expected {num_classes}, the network's number of classes")
        return None
    number = {name: i for i, name in enumerate(network)}
    unknown = [name for name in data if name not in number]
    if not unknown:
        return [number[name] for name in data]
    if len(data) == len(network) == len(unknown):
        return None
    raise InputError(
        f"class {unknown[0]!r} (and {len(unknown) - 1} more of {len(data)}) is none of the network's {len(network)} classes, "
        f"expected names such as {network[0]!r}"
    )
