"""A split of items with several labels each."""

from collections import Counter

import pytest

from metamixer.training.own_data.stratified import stratified_split


@pytest.mark.parametrize("seed", range(5))
def test_rare_labels_are_in_both_parts(seed):
    """Of 100 items, two have the rare label, and a chain of pairs shares items with it and with each other."""
    labels = [{"road", *(["sky"] if number % 2 else [])} for number in range(100)]
    for label, items in {"cat": (3, 70), "dog": (70, 71), "cow": (71, 5), "one": (9,)}.items():
        for item in items:
            labels[item].add(label)
    train, val = stratified_split(labels, seed)
    assert sorted(train + val) == list(range(100)) and 18 <= len(val) <= 24
    counts = Counter(label for item in val for label in labels[item])
    assert counts["cat"] == counts["dog"] == counts["cow"] == 1 and 8 <= counts["sky"] <= 13
    assert stratified_split(labels, seed) == (train, val) != stratified_split(labels, seed + 1)


@pytest.mark.parametrize("labels", [[set()] * 5, [{number} for number in range(5)], [{0}] * 5, [set(), {0}] * 2])
def test_both_parts_have_items(labels):
    train, val = stratified_split(labels, 0)
    assert len(train) in (3, 4) and val and sorted(train + val) == list(range(len(labels)))
