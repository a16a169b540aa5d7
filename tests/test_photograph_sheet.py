"""The blind sheet of photographs and the picture of size and quality: benchmarks that show images, not only figures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    """The folder whose scripts import each other."""
    monkeypatch.syspath_prepend(BENCHMARKS)


def test_the_key_names_the_columns_of_the_sheet(benchmarks, tmp_path):
    from photograph_sheet import SIDE, Row, write_blind

    grays = {"bicubic": 40, "clean weights": 120, "photo weights": 200}
    details = {way: np.full((SIDE, SIDE, 1), gray, np.uint8) for way, gray in grays.items()}
    rows = [Row(f"photograph {number}", "png", details, {}, "") for number in range(8)]
    write_blind(rows, tmp_path, seed=0)
    orders = json.loads((tmp_path / "key.json").read_text())
    assert len({tuple(order) for order in orders.values()}) > 2
    pixels = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    for number, row in enumerate(rows):
        center = 20 + number * (SIDE + 4) + SIDE // 2
        columns = [pixels[center, 90 + column * (SIDE + 4) + SIDE // 2] for column in range(3)]
        assert columns == [grays[way] for way in orders[row.name]]


@pytest.mark.parametrize(("kind", "form"), [("png", "PNG"), ("jpeg_30", "JPEG"), ("noise", "PNG"), ("night", "JPEG")])
def test_photographs_are_spoiled_as_named(benchmarks, tmp_path, kind, form):
    from photograph_sheet import KINDS

    small = np.random.default_rng(0).integers(100, 150, (32, 32, 3), dtype=np.uint8)
    with Image.open(KINDS[kind].save(small, tmp_path / "a", np.random.default_rng(1))) as image:
        assert (image.format, image.size) == (form, (32, 32))
        pixels = np.asarray(image).astype(float)
    assert np.array_equal(pixels, small) == (kind == "png")
    assert abs(pixels.mean() / small.mean() - KINDS[kind].exposure) < 0.05


def test_ncnn_weights_are_read_in_order(benchmarks, tmp_path, monkeypatch):
    pytest.importorskip("spandrel")
    import real_esrgan

    monkeypatch.setattr(real_esrgan, "convolutions", lambda: iter([("conv_first", 2, 3), ("conv_last", 1, 2)]))
    layers = [np.random.default_rng(n).normal(size=count * 9) for n, count in ((0, 6), (1, 2))]
    biases = [np.array([1, 2]), np.array([3])]
    parts = [
        (0x01306B47).to_bytes(4, "little") + layer.astype(np.float16).tobytes() + bias.astype(np.float32).tobytes()
        for layer, bias in zip(layers, biases, strict=True)
    ]
    (tmp_path / "a.bin").write_bytes(b"".join(parts))
    state = real_esrgan.state_from_ncnn(tmp_path / "a.bin")
    assert state["conv_first.weight"].shape == (2, 3, 3, 3) and state["conv_last.bias"].tolist() == [3]
    np.testing.assert_allclose(state["conv_last.weight"].flatten(), layers[1], atol=2e-3)
    (tmp_path / "a.bin").write_bytes(b"".join(parts)[:-1])
    with pytest.raises(real_esrgan.InputError, match="expected realesrgan-x4plus"):
        real_esrgan.state_from_ncnn(tmp_path / "a.bin")


def test_the_picture_shows_the_stored_figures(benchmarks):
    from size_and_quality import PANELS

    points = {point.name: point for panel in PANELS.values() for point in panel()}
    stored = json.loads((BENCHMARKS / "results/restoration.json").read_text())["rows"]
    assert points["ffnet_restore_gray"].psnr in [row["restored"] for row in stored]
    assert not points["ffnet_sr_nano"].paper and points["ffnet_sr"].paper and points["DnCNN-3"].paper
    assert points["DnCNN-3"].parameters > points["DnCNN-S"].parameters


def test_the_axes_of_the_picture_show_whole_figures(benchmarks, tmp_path):
    from size_and_quality import draw, limits

    low, high = limits([31.627, 31.63])
    assert high - low == pytest.approx(0.5) and low + high == pytest.approx(2 * 31.6285)
    low, high = limits([36.6, 38.3])
    assert low < 36.6 and high > 38.3
    draw(tmp_path / "sizes.png")
    assert Image.open(tmp_path / "sizes.png").width > 600
