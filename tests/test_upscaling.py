"""Enlarging images in memory: tiles don't change the result, the type is kept, other inputs are refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import metamixer
from metamixer.checkpoints.ours import network_info
from metamixer.deployment.exporting import export
from metamixer.errors import InputError
from metamixer.inference.tiles import split
from metamixer.mixer import FFNifiedAttention
from metamixer.predictors.upscaler import Upscaler
from metamixer.zoo import files
from pictures import noise, picture, save_small_upscaler


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_small_upscaler(tmp_path_factory.mktemp("weights") / "x2.safetensors")


@pytest.fixture(scope="module")
def upscaler(checkpoint):
    return Upscaler(checkpoint=checkpoint)


class TestUpscaler:
    @torch.no_grad()
    def test_takes_bfloat16(self, upscaler):
        image = torch.rand(3, 10, 12).bfloat16()
        torch.testing.assert_close(upscaler(image), upscaler(image.float()).bfloat16())

    def test_tensors_equal_the_networks_output(self, upscaler):
        x = torch.rand(2, 3, 20, 30)
        torch.testing.assert_close(upscaler(x), upscaler.network(x), rtol=0, atol=1e-5)
        torch.testing.assert_close(upscaler(x[0]), upscaler.network(x)[0], rtol=0, atol=1e-5)

    @pytest.mark.parametrize(("height", "width"), [(70, 50), (16, 61), (1, 1), (1, 90)])
    def test_tiles_change_nothing(self, checkpoint, upscaler, height, width):
        tiled = Upscaler(checkpoint=checkpoint)
        tiled.tile = 16
        image = np.random.RandomState(0).rand(height, width, 3).astype(np.float32)
        np.testing.assert_allclose(tiled(image), upscaler(image), rtol=0, atol=1e-5)

    def test_a_margin_that_is_too_small_changes_the_result(self, checkpoint, upscaler):
        tiled = Upscaler(checkpoint=checkpoint)
        tiled.tile, tiled.margin = 16, tiled.margin - 1
        image = np.random.RandomState(0).rand(70, 50, 3).astype(np.float32)
        assert np.abs(tiled(image) - upscaler(image)).max() > 1e-5

    def test_an_exported_network_with_an_own_mixer_keeps_its_margin(self, tmp_path, monkeypatch):
        def dilated(dim, kernel_size, operators):
            mixer = FFNifiedAttention(dim, kernel_size, operators)
            mixer.key = nn.Conv2d(dim, dim, 3, padding=4, dilation=4, groups=dim)
            return mixer

        monkeypatch.setitem(metamixer.TOKEN_MIXERS, "dilated", dilated)
        args = {"dim": 8, "depth": 1, "mixers": "dilated", "norm": "batchnorm2d"}
        network = metamixer.create_model("ffnet_sr_nano", **args).eval()
        info = network_info("ffnet_sr_nano", args, task="super_resolution")
        export(network, tmp_path / "own.pt2", format="torch", info=info)
        assert Upscaler.load(tmp_path / "own.pt2").margin == Upscaler(network, info=info).margin

    def test_memory_decides_the_size_of_the_tiles(self, checkpoint):
        sides = [Upscaler(checkpoint=checkpoint, memory=memory).tile for memory in (8, 32, 128)]
        assert sides[0] < sides[1] < sides[2]
        with pytest.raises(InputError, match="memory 0 MiB, expected at least 1 for this network"):
            Upscaler(checkpoint=checkpoint, memory=0)

    def test_a_palette_becomes_color(self, upscaler):
        assert upscaler(picture("RGB").convert("P")).mode == "RGB"

    @pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
    def test_images_keep_their_mode(self, upscaler, mode):
        enlarged = upscaler(picture(mode))
        assert (enlarged.mode, enlarged.size) == (mode, (60, 40))

    def test_all_types_of_images_agree(self, upscaler):
        pixels = noise(20, 30, 3)
        expected = upscaler(pixels)
        assert (expected.shape, expected.dtype) == ((40, 60, 3), np.uint8)
        np.testing.assert_array_equal(np.asarray(upscaler(Image.fromarray(pixels))), expected)
        np.testing.assert_array_equal(
            upscaler(torch.from_numpy(pixels).permute(2, 0, 1)).permute(1, 2, 0).numpy(), expected
        )
        deep = upscaler(pixels.astype(np.uint16) * 257)
        assert np.abs(deep / 257 - expected).max() <= 0.51
        floating = upscaler(pixels / np.float32(255))
        assert np.abs(floating.clip(0, 1) * 255 - expected).max() <= 0.51

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    def test_arrays_with_alpha_are_as_pillow_images(self, upscaler, dtype):
        pixels = noise(20, 30, 4)
        pixels[:9, :, 3] = 0  # transparent, of colors that nobody sees
        white = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
        enlarged = upscaler((pixels * np.float64(white)).astype(dtype))
        assert (enlarged.shape, enlarged.dtype, enlarged.image.mode) == ((40, 60, 4), dtype, "RGBA")
        expected = np.asarray(upscaler(Image.fromarray(pixels, "RGBA")))
        assert np.abs((np.asarray(enlarged, np.float64) / white).clip(0, 255) - expected).max() <= 1.01
        tensor = torch.from_numpy((pixels * np.float64(white)).astype(dtype)).permute(2, 0, 1)
        for batched in (tensor, tensor[None]):
            np.testing.assert_array_equal(upscaler(batched).reshape(4, 40, 60).permute(1, 2, 0), enlarged)

    def test_grayscale_stays_grayscale(self, upscaler):
        grey = noise(20, 30, 1)[:, :, 0]
        coloured = upscaler(np.repeat(grey[:, :, None], 3, axis=2).astype(np.float32) / 255)
        np.testing.assert_allclose(upscaler(grey.astype(np.float32) / 255), coloured.mean(axis=2), atol=1e-5)

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (np.zeros((4, 4, 2), np.uint8), r"shape \[4, 4, 2\], expected \(height, width, 1, 3 or 4\)"),
            (np.zeros((0, 4, 3), np.uint8), r"shape \[0, 4, 3\]"),
            (np.zeros((4, 4, 3), np.int32), "type int32, expected uint8, uint16 or floating point"),
            (np.full((4, 4, 3), np.nan, np.float32), "NaN or infinite"),
            (np.full((4, 4, 3), 200, np.float32), r"values from 200 to 200, expected values in \[0, 1\]"),
            (torch.zeros(4, 4), r"tensor of shape \[4, 4\]"),
            (torch.zeros(0, 3, 4, 4), r"tensor of shape \[0, 3, 4, 4\], expected pixels"),
            (3, "image of type int"),
            (Image.new("CMYK", (4, 4)), "mode 'CMYK', expected L, LA, RGB, RGBA, P or I;16"),
        ],
    )
    def test_refuses_all_but_images(self, upscaler, image, message):
        with pytest.raises(InputError, match=message):
            upscaler(image)

    def test_runs_in_a_backend(self, checkpoint, upscaler):
        image = noise(20, 30, 3)
        deployed = Upscaler(checkpoint=checkpoint, backend="eager", precision="bf16")
        assert np.abs(deployed(image).astype(int) - upscaler(image)).max() <= 8


class TestWeights:
    def test_those_in_the_package_are_the_default(self, tmp_path, monkeypatch, upscaler):
        monkeypatch.setattr(files, "FOLDER", tmp_path)
        save_small_upscaler(tmp_path / "ffnet_sr_nano_x2.safetensors")
        save_small_upscaler(tmp_path / "ffnet_sr_nano_x3.safetensors", scale=3)
        image = noise(20, 30, 3)
        np.testing.assert_array_equal(Upscaler()(image), upscaler(image))
        assert Upscaler("ffnet_sr_nano", scale=3)(image).shape == (60, 90, 3)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"model": "ffnet_1"}, "model 'ffnet_1', expected one of ffnet_sr, ffnet_sr_light, ffnet_sr_nano"),
            ({"scale": 5}, "scale 5, expected one of 2, 3, 4"),
            ({"model": "ffnet_sr", "scale": 3}, "ffnet_sr: no weights for scale 3, expected scale 2"),
        ],
    )
    def test_names_missing_weights(self, arguments, message):
        with pytest.raises(InputError, match=message):
            Upscaler(**arguments)

    def test_a_network_needs_its_info(self, upscaler):
        with pytest.raises(InputError, match=r"^info None, expected the network's, as"):
            Upscaler(upscaler.network)

    def test_a_checkpoint_must_match_the_arguments(self, checkpoint):
        with pytest.raises(InputError, match="a checkpoint of scale 2, expected 3"):
            Upscaler(scale=3, checkpoint=checkpoint)
        with pytest.raises(InputError, match="a checkpoint of ffnet_sr_nano, expected ffnet_sr"):
            Upscaler("ffnet_sr", checkpoint=checkpoint)

    def test_a_published_file_needs_its_name(self, tmp_path):
        network = metamixer.create_model("ffnet_sr_light", scale=3)
        state = {network.published_name(name): tensor for name, tensor in network.state_dict().items()}
        torch.save({"params": state}, tmp_path / "light.pth")
        assert Upscaler("ffnet_sr_light", scale=3, checkpoint=tmp_path / "light.pth").scale == 3
        with pytest.raises(InputError, match="or the network's name in --model"):
            Upscaler(checkpoint=tmp_path / "light.pth")


def test_tiles_cover_an_image_once():
    covered = np.zeros((37, 50), int)
    for tile in split(37, 50, side=16, margin=3):
        covered[tile.rows, tile.columns] += 1
        assert tile.rows.stop - tile.rows.start <= 16
    assert (covered == 1).all()
