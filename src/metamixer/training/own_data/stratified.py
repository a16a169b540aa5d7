"""A split of items with several labels each, such as the classes in an image: iterative stratification."""

import random
from collections import Counter
from collections.abc import Collection, Hashable, Sequence

from ...data.held_out import held_back


def stratified_split(labels: Sequence[Collection[Hashable]], seed: int) -> tuple[list[int], list[int]]:
    """Indices of items for training and for validation, determined by the seed; labels: those of each item.

    Label by label, the one with the fewest items left first, each item goes to the part that lacks more of the label
    (Sechidis et al. 2011). So a label of two items or more is in both parts, unless items with several such labels make
    it impossible.
    """
    counts = Counter(label for each in labels for label in set(each))
    common = [{label for label in each if counts[label] > 1} for each in labels]
    lacking = {label: lacked(count) for label, count in counts.items()}
    places = lacked(len(labels))
    parts: tuple[list[int], list[int]] = ([], [])
    left = list(range(len(labels)))
    random.Random(seed).shuffle(left)
    while left:
        rarest = rarest_of(common, left)
        for item in [item for item in left if rarest is None or rarest in common[item]]:
            need = [(0 if rarest is None else lacking[rarest][part], places[part]) for part in (0, 1)]
            part = need.index(max(need))
            parts[part].append(item)
            places[part] -= 1
            for label in common[item]:
                lacking[label][part] -= 1
        left = [] if rarest is None else [item for item in left if rarest not in common[item]]
    return sorted(parts[0]), sorted(parts[1])


def lacked(count: int) -> list[int]:
    """The number of items that training and validation should have of so many."""
    return [count - held_back(count), held_back(count)]


def rarest_of(labels: Sequence[Collection[Hashable]], left: Sequence[int]) -> Hashable | None:
    """The label with the fewest items among those left, the first one of several; None without labels."""
    counts = Counter(label for item in left for label in sorted(labels[item], key=str))
    return min(counts, key=counts.__getitem__, default=None)
