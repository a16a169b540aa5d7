"""Restoring images in memory: tiles don't change the result, types are kept, the strength is the estimate's."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs
from skimage.metrics import peak_signal_noise_ratio

import metamixer
from metamixer.data.images.lossless import read_picture
from metamixer.data.restoration.estimate import Estimate
from metamixer.deployment.exporting import export
from metamixer.errors import InputError
from metamixer.inference.tiles import split
from metamixer.predictors.restorer import Restorer
from metamixer.predictors.upscaler import Upscaler
from pictures import (
    jpeg_of,
    noise,
    noisy_of,
    packaged_restorers,
    picture,
    save_small_photograph_network,
    save_small_restorer,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def checkpoint(folder):
    return save_small_restorer(folder / "color.safetensors")


@pytest.fixture(scope="module")
def restorer(checkpoint):
    return Restorer.load(checkpoint, strength=1.0)


@pytest.fixture
def packaged(folder, monkeypatch):
    """Weights in the package for gray, color and twice the size."""
    packaged_restorers(monkeypatch, folder)


def random(*shape):
    return np.random.RandomState(0).rand(*shape).astype(np.float32)


class TestTiles:
    @pytest.mark.parametrize(("height", "width"), [(70, 50), (16, 61), (1, 1), (2, 3), (1, 90)])
    @pytest.mark.parametrize(
        ("save", "scale"), [(save_small_restorer, 1), (save_small_restorer, 2), (save_small_photograph_network, 2)]
    )
    def test_change_nothing(self, folder, height, width, save, scale):
        path = save(folder / f"{save.__name__}{scale}.safetensors", scale=scale)
        whole, tiled = (Restorer.load(path, strength=1.0) for _ in range(2))
        tiled.tile = 17
        image = random(height, width, 3)
        expected = whole(image)
        assert expected.shape == (height * scale, width * scale, 3)
        np.testing.assert_allclose(tiled(image), expected, rtol=0, atol=1e-5)

    def test_a_margin_that_is_too_small_changes_the_result(self, checkpoint, restorer):
        tiled = Restorer.load(checkpoint, strength=1.0)
        tiled.tile, tiled.margin = 17, tiled.margin - 4
        image = random(70, 50, 3)
        assert np.abs(tiled(image) - restorer(image)).max() > 1e-5

    def test_begin_at_multiples_and_cover_an_image_once(self):
        covered = np.zeros((37, 50), int)
        for tile in split(37, 50, side=15, margin=3, multiple=4):
            covered[tile.rows, tile.columns] += 1
            for seen, kept, end in zip(tile.seen, (tile.rows, tile.columns), (37, 50), strict=True):
                assert seen.start % 4 == 0 and (seen.stop % 4 == 0 or seen.stop == end)
                assert seen.start <= max(kept.start - 3, 0) and seen.stop >= min(kept.stop + 3, end)
        assert (covered == 1).all()

    def test_memory_decides_their_size(self, checkpoint):
        sides = [Restorer.load(checkpoint, memory=memory).tile for memory in (8, 32, 128)]
        assert sides[0] < sides[1] < sides[2]
        with pytest.raises(InputError, match="memory 0 MiB, expected at least 1 for this network"):
            Restorer.load(checkpoint, memory=0)


class TestEnsemble:
    """`ensemble`: the mean over mirrored and turned images."""

    @torch.no_grad()
    @pytest.mark.parametrize("size", [2, 4, 8])
    def test_is_the_mean_over_symmetries(self, checkpoint, restorer, size):
        image = torch.rand(3, 20, 30)
        turns = [(mirrored, turned) for turned in (0, 2, 1, 3) for mirrored in (False, True)][:size]
        results = []
        for mirrored, turned in turns:
            given = torch.rot90(image.flip(2) if mirrored else image, turned, (1, 2))
            back = torch.rot90(restorer(given).plain(), -turned, (1, 2))
            results.append(back.flip(2) if mirrored else back)
        expected = torch.stack(results).mean(dim=0)
        found = Restorer.load(checkpoint, strength=1.0, ensemble=size)(image).plain()
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        assert (found - results[0]).abs().max() > 1e-3

    def test_of_tiles_equals_that_of_the_whole(self, checkpoint):
        whole, tiled = (Restorer.load(checkpoint, strength=1.0, ensemble=8) for _ in range(2))
        tiled.tile = 17
        image = random(61, 43, 3)
        np.testing.assert_allclose(tiled(image), whole(image), rtol=0, atol=1e-5)

    def test_a_wrong_size_is_named(self, checkpoint):
        with pytest.raises(InputError, match=r"^ensemble 3, expected one of 1, 2, 4, 8"):
            Restorer.load(checkpoint, ensemble=3)


class TestTypes:
    @torch.no_grad()
    def test_tensors_equal_the_networks_output(self, restorer):
        x = torch.rand(2, 3, 20, 30)
        torch.testing.assert_close(restorer(x), restorer.network(x), rtol=0, atol=1e-5)
        torch.testing.assert_close(restorer(x[0]).plain(), restorer.network(x)[0], rtol=0, atol=1e-5)

    @pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
    def test_images_keep_their_mode(self, restorer, mode):
        image = picture(mode)
        restored = restorer(image)
        assert (restored.mode, restored.size) == (mode, (30, 20))
        if mode in ("LA", "RGBA"):
            np.testing.assert_array_equal(np.asarray(restored)[:, :, -1], np.asarray(image)[:, :, -1])

    def test_arrays_keep_their_alpha(self, restorer):
        pixels = np.asarray(picture("RGBA"))
        restored = restorer(pixels)
        np.testing.assert_array_equal(restored, np.asarray(restorer(picture("RGBA"))))
        np.testing.assert_array_equal(restored[:, :, 3], pixels[:, :, 3])

    def test_images_keep_their_metadata(self, restorer, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        picture("RGB").save(tmp_path / "a.jpg", exif=exif, dpi=(300, 300), icc_profile=b"profile")
        with Image.open(tmp_path / "a.jpg") as image:
            results = restorer(image), restorer(tmp_path / "a.jpg")
        for result in results:
            assert result.getexif()[0x0112] == 6
            result.save(tmp_path / "b.jpg", quality=80)
            with Image.open(tmp_path / "b.jpg") as saved:
                assert (saved.getexif()[0x0112], saved.info["dpi"], saved.info["icc_profile"]) == (
                    6,
                    (300, 300),
                    b"profile",
                )

    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_16_bits_are_saved_as_16_bits(self, restorer, channels, tmp_path):
        pixels = noise(20, 30, channels, np.uint16)
        restored = restorer(pixels)
        for result in (restored, restorer(torch.from_numpy(pixels).permute(2, 0, 1))):
            result.save(tmp_path / "a.png")
            np.testing.assert_array_equal(np.dstack(read_picture(tmp_path / "a.png").bands()), restored)
        with pytest.raises(InputError, match=r"a\.jpg: .*, expected a name that ends in \.png"):
            restored.save(tmp_path / "a.jpg")

    def test_options_that_would_cost_16_bits_are_refused(self, restorer, tmp_path):
        restorer(noise(20, 30, 3, np.uint16)).save(tmp_path / "a.png")
        with pytest.raises(InputError, match=r"b\.png: a format or options for color of 16 bits, expected none"):
            restorer(tmp_path / "a.png").save(tmp_path / "b.png", optimize=True)
        assert not (tmp_path / "b.png").exists()

    def test_all_types_agree(self, restorer):
        pixels = noise(20, 30, 3)
        expected = restorer(pixels)
        assert (expected.shape, expected.dtype) == ((20, 30, 3), np.uint8)
        np.testing.assert_array_equal(np.asarray(restorer(Image.fromarray(pixels))), expected)
        np.testing.assert_array_equal(restorer(torch.from_numpy(pixels).permute(2, 0, 1)).permute(1, 2, 0), expected)
        deep = restorer(pixels.astype(np.uint16) * 257)
        assert np.abs(deep / 257 - expected).max() <= 0.51
        np.testing.assert_array_equal(restorer((pixels.astype(np.uint16) * 257).astype(">u2")), deep)
        assert np.abs(restorer(pixels / np.float32(255)).clip(0, 1) * 255 - expected).max() <= 0.51

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 3)])
    def test_noise_outside_of_the_range_is_kept(self, restorer, shape, dtype):
        image = (random(*shape) + 0.5 * np.random.RandomState(1).randn(*shape)).astype(dtype)
        restored = restorer(image)
        assert (restored.shape, restored.dtype) == (shape, dtype)
        clipped = restorer(image.clip(0, 1))
        assert np.abs(restored - clipped).max() > 0.1

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (np.zeros((4, 4, 2), np.uint8), r"shape \[4, 4, 2\], expected \(height, width, 1, 3 or 4\)"),
            (np.zeros((4, 4, 3), np.int32), "type int32, expected uint8, uint16 or floating point"),
            (np.full((4, 4, 3), np.inf, np.float32), "NaN or infinite"),
            (np.full((4, 4, 3), 200, np.float32), r"values from 200 to 200, expected values in \[0, 1\]"),
            (torch.zeros(4, 4), r"tensor of shape \[4, 4\]"),
            (torch.zeros(0, 3, 4, 4), r"tensor of shape \[0, 3, 4, 4\], expected pixels"),
            (3, "image of type int"),
            ("absent.png", "absent.png: no such file"),
            (Image.new("CMYK", (4, 4)), "mode 'CMYK', expected L, LA, RGB, RGBA, P or I;16"),
        ],
    )
    def test_refuses_all_but_images(self, restorer, image, message):
        with pytest.raises(InputError, match=message):
            restorer(image)


class TestSmallImages:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("sides", [(1, 1), (2, 2), (3, 5), (1, 40)])
    def test_flat_ones_keep_their_color(self, sides, channels):
        """The networks of the package make a single pixel of 220 darker by 22 where nothing extends it."""
        restored = Restorer.load(strength=1.0)(np.full((*sides, channels), 220, np.uint8))
        assert restored.shape == (*sides, channels)
        assert np.abs(restored.astype(int) - 220).max() <= 3


class TestChannels:
    def test_gray_through_a_color_network_is_the_mean_of_the_colors(self, restorer):
        gray = random(20, 30)
        colored = restorer(np.repeat(gray[:, :, None], 3, axis=2))
        np.testing.assert_allclose(restorer(gray), colored.mean(axis=2), atol=1e-5)

    def test_a_gray_network_restores_each_color_by_itself(self, folder):
        gray = Restorer.load(save_small_restorer(folder / "gray.safetensors", channels=1), strength=1.0)
        image = random(20, 30, 3)
        np.testing.assert_allclose(gray(image), np.dstack([gray(image[:, :, i]) for i in range(3)]), atol=1e-5)

    def test_each_kind_of_image_has_its_network(self, packaged, folder):
        both = Restorer.load(strength=1.0)
        image = random(20, 30, 3)
        assert both.gray is None
        color = Restorer.load(folder / "ffnet_restore.safetensors", strength=1.0)
        np.testing.assert_array_equal(both(image), color(image))
        assert both.gray is None  # not needed so far
        gray = Restorer.load(folder / "ffnet_restore_gray.safetensors", strength=1.0)
        np.testing.assert_array_equal(both(image[:, :, 0]), gray(image[:, :, 0]))
        np.testing.assert_array_equal(both(picture("L")), gray(picture("L")))
        assert Restorer.load("ffnet_restore_gray").channels == 1

    def test_the_network_for_gray_runs_in_the_backend_and_precision_asked_for(self, packaged):
        gray = random(20, 30)
        both, alone = (
            Restorer.load(name, strength=1.0, backend="eager", precision="bf16")
            for name in (None, "ffnet_restore_gray")
        )
        np.testing.assert_array_equal(both(gray), alone(gray))
        assert not np.array_equal(both(gray), Restorer.load("ffnet_restore_gray", strength=1.0)(gray))


class TestStrength:
    def test_0_is_the_identity(self, restorer):
        for image in (noise(20, 30, 3), noise(20, 30, 1, np.uint16)[:, :, 0], np.random.RandomState(0).rand(9, 7)):
            np.testing.assert_array_equal(restorer(image, strength=0), image)

    def test_is_the_share_of_the_restoration(self, restorer):
        image = random(20, 30, 3)
        half, full = restorer(image, strength=0.5), restorer(image, strength=1)
        np.testing.assert_allclose(half, (image + full) / 2, atol=1e-5)
        assert (half.strength, full.strength) == (0.5, 1)

    def test_0_is_bicubic_at_a_larger_scale(self, folder):
        double = Restorer.load(save_small_restorer(folder / "x2.safetensors", scale=2))
        image = random(20, 31)
        bicubic = np.asarray(Image.fromarray(image).resize((62, 40), Image.Resampling.BICUBIC))
        np.testing.assert_allclose(double(image, strength=0), bicubic, atol=1e-4)
        assert double(image).strength == 1

    def test_is_0_for_a_clean_photograph_and_1_for_a_bad_one(self, checkpoint):
        restorer, clean = Restorer.load(checkpoint), photographs.chelsea()
        result = restorer(clean)
        assert result.strength < 0.05
        assert peak_signal_noise_ratio(clean, np.asarray(result)) >= 45
        noisy = restorer(noisy_of(clean))
        assert noisy.strength == 1 and noisy.estimate.noise == pytest.approx(20, abs=2)
        coarse = restorer(jpeg_of(clean, 30))
        assert coarse.strength == 1 and coarse.estimate.quality == 30
        assert str(coarse) == f"noise {coarse.estimate.noise:.1f}, JPEG quality about 30, strength 1.00"

    def test_clean_photographs_stay_as_they_are_by_the_packaged_weights(self):
        """Details with some strength, by a little noise or an earlier JPEG file of quality 85; one without."""
        restorer = Restorer.load()
        for name, top, left in (("astronaut", 8, 8), ("chelsea", 80, 160), ("coins", 8, 8), ("brick", 8, 8)):
            clean = getattr(photographs, name)()[top : top + 128, left : left + 128]
            result = restorer(clean)
            assert (result.strength > 0.3) == (name != "brick")
            assert peak_signal_noise_ratio(clean, np.asarray(result)) >= 45

    @pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
    def test_refuses_other_values(self, restorer, checkpoint, strength):
        with pytest.raises(InputError, match=f"strength {strength}, expected 0 to 1"):
            restorer(random(8, 8), strength=strength)
        with pytest.raises(InputError, match=f"strength {strength}, expected 0 to 1"):
            Restorer.load(checkpoint, strength=strength)

    def test_refuses_words(self, restorer):
        with pytest.raises(InputError, match="strength 'full', expected 0 to 1"):
            restorer(random(8, 8), strength="full")

    def test_is_smooth(self):
        for field, values in (("noise", np.linspace(0, 6, 100)), ("quality", range(100, 60, -1))):
            strengths = [Estimate(**{"noise": 0.0, field: value}).strength for value in values]
            assert strengths[0] == 0 and strengths[-1] == 1
            assert np.diff(strengths).min() >= 0 and np.diff(strengths).max() < 0.12


class TestWeights:
    def test_are_found_by_scale(self, packaged):
        assert Restorer.load(scale=2)(random(8, 9, 3)).shape == (16, 18, 3)
        assert Restorer.load("ffnet_photograph").scale == Restorer.load("ffnet_restore", scale=2).scale == 2
        assert metamixer.load("ffnet_restore").scale == 1
        assert Restorer.load(scale=2)(random(8, 9)).shape == (16, 18)

    def test_for_enlarging_are_blended_with_the_clean_ones(self, packaged):
        image = torch.from_numpy(random(3, 20, 30))
        clean, photo = Upscaler.load(scale=2)(image).plain(), Restorer.load(scale=2, strength=1)(image).plain()
        for strength in (0, 0.3, 1):
            found = Restorer.load(scale=2)(image, strength=strength).plain()
            torch.testing.assert_close(found, torch.lerp(clean, photo, strength), rtol=0, atol=1e-5)
        assert (clean - photo).abs().max() > 1e-2

    def test_for_enlarging_leave_a_clean_image_to_the_clean_ones(self, packaged):
        smooth = np.full((64, 64, 3), 90, np.uint8)
        result = Restorer.load(scale=2)(smooth)
        assert result.strength == 0
        np.testing.assert_array_equal(result, Upscaler.load(scale=2)(smooth))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"scale": 3}, "scale 3: no weights are packaged, .* there are some for scales 1, 2"),
            ({"scale": 5}, "scale 5, expected one of 1, 2, 3, 4"),
            ({"model": "ffnet_1"}, "model 'ffnet_1', expected one of ffnet_photograph, ffnet_restore"),
            ({"source": "ffnet_sr_nano"}, "model 'ffnet_sr_nano', expected one of ffnet_photograph, ffnet_restore"),
        ],
    )
    def test_names_missing_ones(self, packaged, arguments, message):
        with pytest.raises(InputError, match=message):
            Restorer.load(**arguments)

    def test_a_checkpoint_must_match_the_scale(self, checkpoint):
        with pytest.raises(InputError, match="a checkpoint of scale 1, expected 2"):
            Restorer.load(checkpoint, scale=2)


def test_is_deterministic(checkpoint):
    image = random(20, 31, 3)
    np.testing.assert_array_equal(Restorer.load(checkpoint)(image), Restorer.load(checkpoint)(image))


def test_results_say_what_was_found(restorer, tmp_path):
    picture("L").save(tmp_path / "a.jpg", quality=20)
    result = restorer(tmp_path / "a.jpg")
    about = result.to_dict()
    assert (about["jpeg_quality"], about["strength"], about["scale"]) == (20, 1, 1)
    assert result.source == str(tmp_path / "a.jpg")
    assert result.save(tmp_path / "b.png").is_file()


@pytest.mark.parametrize("format", ["onnx", "openvino", "torch"])
def test_exported_files_take_images_of_any_size(format, checkpoint, restorer, tmp_path):
    pytest.importorskip(format)
    suffix = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}[format]
    network, info = metamixer.load_checkpoint(checkpoint)
    export(network, tmp_path / f"net{suffix}", format=format, info=info)
    exported = Restorer.load(tmp_path / f"net{suffix}", strength=1.0)
    assert exported.patch == 2
    for image in (random(20, 31, 3), random(17, 9)):
        np.testing.assert_allclose(exported(image), restorer(image), atol=1e-4)
