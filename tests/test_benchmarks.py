"""What the benchmarks of super-resolution and restoration compute besides what they measure."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

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


def test_restored_images_stand_beside_the_published_figures(tmp_path):
    import restoration

    for name in ("Set12", "val_color"):
        (tmp_path / name).mkdir()
    gray = np.full((16, 16), 128, np.uint8)
    Image.fromarray(gray).save(tmp_path / "Set12/a.png")
    Image.fromarray(np.stack([gray] * 3, axis=2)).save(tmp_path / "val_color/a.png")
    ways = dict.fromkeys(("restored", "ensemble"), lambda image, strength: np.full_like(image, 129 / 255))
    rows = restoration.quality(tmp_path, ways, {"noise": lambda image, strength: np.full_like(image, 130 / 255)})
    table = [dict(zip(restoration.COLUMNS, restoration.cells(row), strict=True)) for row in rows]
    assert [(row["set"], row["degradation"]) for row in table][2:] == [
        ("Set12", "noise 50"),
        ("val_color", "noise 25"),
        ("val_color", "jpeg 20"),
    ]
    noise_25 = table[1]
    assert (noise_25["DnCNN-S"], noise_25["DnCNN-B, DnCNN-3"]) == ("30.44", "30.36")
    assert (noise_25["restored"], noise_25["the same, measured"]) == ("48.13", "42.11")
    assert table[3]["DnCNN-S"] == table[3]["the same, measured"] == ""


def test_weights_of_dncnn_are_read_in_matlabs_order():
    """The file holds (out, in, width, height), without a first axis of 1."""
    from dncnn import DnCNN, _kernel

    stored = np.zeros((1, 3, 3), np.float32)
    stored[0, 2, 1] = 1  # the right neighbor
    take_off = DnCNN([(_kernel(stored), torch.zeros(1))])
    image = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    expected = image - np.pad(image[:, 1:], ((0, 0), (0, 1), (0, 0)))
    np.testing.assert_array_equal(take_off(image, strength=1.0), expected)


def test_a_restorer_s_speed_is_measured_when_asked(monkeypatch, capsys):
    import restoration_speed

    monkeypatch.setattr(restoration_speed, "HEIGHT", 12)
    monkeypatch.setattr(restoration_speed, "WIDTH", 16)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n\n"))
    restoration_speed.run({})
    ready, *runs = capsys.readouterr().out.splitlines()
    assert ready == "ready" and len(runs) == 2
    assert all(json.loads(run).keys() == {"seconds", "peak_gib"} for run in runs)
