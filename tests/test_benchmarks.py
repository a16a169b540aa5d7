"""What the benchmarks of super-resolution and restoration compute besides what they measure."""

from pathlib import Path

import pytest
import torch

from metamixer import create_model
from metamixer.bench.complexity import measure

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    """The folder whose scripts import each other."""
    monkeypatch.syspath_prepend(BENCHMARKS)


def test_token_mixers_are_compared_at_equal_sizes():
    from super_resolution_ablation import MIXERS, size_of

    sizes = [size_of(name) for name in MIXERS]
    for what in ("parameters", "macs"):
        values = [size[what] for size in sizes]
        assert max(values) < 1.01 * min(values)


def test_the_kinds_of_layers_have_all_multiply_accumulates():
    from super_resolution_step import KINDS, macs_by_kind

    network, x = create_model("ffnet_sr_nano", scale=2), torch.rand(1, 3, 8, 8)
    macs = macs_by_kind(network, x)
    assert macs.total() == measure(network, x).macs
    token, channel = (macs[kind] for kind in KINDS[:2])
    assert token == 2 * channel == 7 * 2 * 64 * 9 * 8 * 8
