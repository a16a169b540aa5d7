"""What the benchmarks of super-resolution and restoration compute besides what they measure."""

import io
import json
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


def test_figures_are_published_for_some_sets_only():
    from restoration import ONE_FOR_ALL, PER_LEVEL, SETS, published

    tests = [{"set": name, "degradation": how} for name, hows in SETS.items() for how in hows]
    assert {test["set"] for test in tests if not published(ONE_FOR_ALL, test)} == {"val_color"}
    assert {test["set"] for test in tests if published(PER_LEVEL, test)} == {"Set12", "BSD68"}
    assert published(PER_LEVEL, {"set": "Set12", "degradation": "noise_25"}) == "30.44"


def test_a_restorer_s_speed_is_measured_when_asked(monkeypatch, capsys):
    import restoration_speed

    monkeypatch.setattr(restoration_speed, "HEIGHT", 12)
    monkeypatch.setattr(restoration_speed, "WIDTH", 16)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n\n"))
    restoration_speed.run({})
    ready, *runs = capsys.readouterr().out.splitlines()
    assert ready == "ready" and len(runs) == 2
    assert all(json.loads(run).keys() == {"seconds", "peak_gib"} for run in runs)
