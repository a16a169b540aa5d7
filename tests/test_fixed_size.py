"""Restoring and enlarging images of any size with exported files that take one size."""

import numpy as np
import pytest
import torch
from PIL import Image

import metamixer
from metamixer.cli import main
from metamixer.deployment.exporting import export
from metamixer.errors import InputError
from metamixer.inference.tiles import split_fixed
from metamixer.predictors.restorer import Restorer
from metamixer.predictors.upscaler import Upscaler
from pictures import save_small_restorer, save_small_upscaler

LARGE = [(70, 91), (49, 40), (48, 131)]
"""Sizes of images that no file here takes whole."""
SMALL = [(1, 1), (20, 90), (90, 7), (47, 39)]
"""Sizes of images that a file of 48 x 40 pixels takes, or with a side that it takes."""


def exported(checkpoint, path, *shape, format="torch"):
    network, info = metamixer.load_checkpoint(checkpoint)
    export(network, path, format=format, info=info, example=torch.rand(*shape), dynamic=False)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def checkpoint(folder):
    return save_small_restorer(folder / "color.safetensors")


@pytest.fixture(scope="module")
def oblong(folder, checkpoint):
    return exported(checkpoint, folder / "oblong.pt2", 1, 3, 48, 40)


@pytest.fixture(scope="module")
def square(folder, checkpoint):
    return exported(checkpoint, folder / "square.pt2", 1, 3, 44, 44)


def random(*shape):
    return np.random.RandomState(0).rand(*shape).astype(np.float32)


def assert_same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), LARGE)
def test_tiles_equal_the_whole(height, width, checkpoint, oblong):
    image = random(height, width, 3)
    assert_same(Restorer.load(oblong, strength=0.8)(image), Restorer.load(checkpoint, strength=0.8)(image))


@pytest.mark.parametrize(("height", "width"), SMALL)
def test_small_images_are_extended_by_their_edges(height, width, checkpoint, oblong):
    image = random(height, width, 3)
    extended = np.pad(image, [(0, max(48 - height, 0)), (0, max(40 - width, 0)), (0, 0)], mode="edge")
    expected = Restorer.load(checkpoint, strength=1.0)(extended)[:height, :width]
    assert_same(Restorer.load(oblong, strength=1.0)(image), expected)


def test_a_margin_that_is_too_small_changes_the_result(checkpoint, oblong):
    restorer, image = Restorer.load(oblong, strength=1.0), random(70, 91, 3)
    restorer.margin -= 4
    difference = np.abs(restorer(image) - Restorer.load(checkpoint, strength=1.0)(image)).max()
    assert difference > 1e-5


def test_windows_have_one_size_and_their_tiles_cover_an_image_once():
    covered = np.zeros((37, 50), int)
    for tile in split_fixed(37, 50, size=(16, 20), margin=3, multiple=4):
        covered[tile.rows, tile.columns] += 1
        for seen, kept, end, side in zip(tile.seen, (tile.rows, tile.columns), (37, 50), (16, 20), strict=True):
            assert seen.start % 4 == 0 and seen.stop == min(seen.start + side, end)
            assert seen.stop > end - 4 or seen.stop - seen.start == side
            assert seen.start <= max(kept.start - 3, 0) and seen.stop >= min(kept.stop + 3, end)
    assert (covered == 1).all()


@pytest.mark.parametrize(("scale", "batch", "image"), [(2, 1, (70, 50, 3)), (3, 2, (41, 50))])
def test_an_upscaler_enlarges_by_tiles(folder, scale, batch, image):
    checkpoint = save_small_upscaler(folder / f"x{scale}.safetensors", scale)
    file = exported(checkpoint, folder / f"x{scale}.pt2", batch, 3, 26, 32)
    assert_same(Upscaler(checkpoint=file)(random(*image)), Upscaler(checkpoint=checkpoint)(random(*image)))


def test_a_gray_network_restores_each_color(folder):
    checkpoint = save_small_restorer(folder / "gray.safetensors", channels=1)
    file, image = exported(checkpoint, folder / "gray.pt2", 1, 1, 48, 48), random(61, 50, 3)
    assert_same(Restorer.load(file, strength=1.0)(image), Restorer.load(checkpoint, strength=1.0)(image))


@pytest.mark.parametrize("size", [4, 8])
def test_the_ensemble_of_tiles_equals_that_of_the_whole(size, checkpoint, square):
    image, how = random(61, 50, 3), {"strength": 1.0, "ensemble": size}
    assert_same(Restorer.load(square, **how)(image), Restorer.load(checkpoint, **how)(image))


def test_an_ensemble_that_turns_images_needs_a_square(oblong):
    assert Restorer.load(oblong, ensemble=4).fixed == (48, 40)
    with pytest.raises(InputError, match="exported for 40 x 48 pixels, expected a square for ensemble 8"):
        Restorer.load(oblong, ensemble=8)


def test_a_file_no_larger_than_its_margins_takes_no_larger_image(oblong):
    restorer = Restorer.load(oblong, strength=1.0)
    restorer.margin = 20
    assert restorer(random(90, 20, 3)).shape == (90, 20, 3)
    with pytest.raises(InputError, match=r"image side 41, expected at most 40, .* larger --shape"):
        restorer(random(40, 41, 3))


def test_onnx_files_are_tiled_too(folder, checkpoint):
    pytest.importorskip("onnx")
    file, image = exported(checkpoint, folder / "fixed.onnx", 1, 3, 44, 44, format="onnx"), random(45, 70, 3)
    assert_same(Restorer.load(file, strength=1.0)(image), Restorer.load(checkpoint, strength=1.0)(image))


def test_the_command_takes_a_photograph_of_another_size(checkpoint, square, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray((255 * random(50, 61, 3)).astype(np.uint8)).save("photo.png")
    for file, out in ((checkpoint, "whole.png"), (square, "tiled.png")):
        assert main(["restore", "photo.png", "--strength", "1", "--checkpoint", str(file), "--out", out]) == 0
    tiled, whole = (np.asarray(Image.open(name), int) for name in ("tiled.png", "whole.png"))
    assert tiled.shape == (50, 61, 3) and np.abs(tiled - whole).max() <= 1
