"""What a restorer finds in an image: its noise, traces of JPEG in its pixels, and whether its file is lossy."""

import numpy as np
import pytest
from PIL import Image
from skimage import data as photographs

from metamixer.data.images import jpeg
from metamixer.data.restoration.degradation import CameraNoise
from metamixer.data.restoration.estimate import estimate
from pictures import jpeg_of, noisy_of, picture

IMAGES = {
    "astronaut": (512, 512, 3),
    "camera": (512, 512, 1),
    "chelsea": (300, 451, 3),
    "coffee": (400, 600, 3),
    "rocket": (427, 640, 3),
}
"""scikit-image's photographs that need no download, with their shapes."""


class TestEstimate:
    @pytest.mark.parametrize("name", ["astronaut", "camera", "chelsea", "coffee", "rocket"])
    def test_clean_photographs_are_clean(self, name):
        assert estimate(getattr(photographs, name)().reshape(*IMAGES[name]), white=255).strength < 0.05

    @pytest.mark.parametrize("std", [5, 15, 50])
    @pytest.mark.parametrize("name", ["camera", "chelsea"])
    def test_noise(self, name, std):
        clean = getattr(photographs, name)().reshape(*IMAGES[name])
        noisy = noisy_of(clean, std)
        found = estimate(noisy)
        assert found.noise == pytest.approx(std, rel=0.1) and found.quality is None
        rounded = (noisy * 255).round().clip(0, 255).astype(np.uint8)
        assert estimate(rounded, white=255).noise == pytest.approx(std, rel=0.15)

    @pytest.mark.parametrize("smoothing", [0.5, 0.8])
    def test_the_coarse_noise_of_a_camera_is_seen(self, smoothing):
        camera = CameraNoise((10, 10), (0, 0), (smoothing, smoothing))
        pixels = camera(photographs.camera()[:, :, None] / np.float32(255), np.random.default_rng(0))
        assert estimate(pixels).strength == 1

    @pytest.mark.parametrize("quality", [10, 30, 60, 85])
    def test_traces_of_jpeg_also_in_a_part(self, quality):
        pixels = np.asarray(jpeg_of(photographs.chelsea(), quality))
        for part in (pixels, pixels[5:, 3:]):
            assert estimate(part, white=255).quality == pytest.approx(quality, abs=1)

    @pytest.mark.parametrize("quality", [5, 30, 75, 96, 100])
    def test_the_quality_of_a_file(self, quality):
        assert jpeg.file_quality(jpeg_of(photographs.chelsea(), quality)) == quality
        assert jpeg.file_quality(Image.new("L", (8, 8))) is None

    def test_a_lower_quality_before_wins(self):
        again = jpeg_of(np.asarray(jpeg_of(photographs.chelsea(), 30)), 97)
        assert estimate(np.asarray(again), white=255, quality=97).quality == pytest.approx(30, abs=1)

    @pytest.mark.parametrize("shape", [(1, 1, 1), (3, 200, 3), (40, 40, 1)])
    def test_small_and_even_images_are_clean(self, shape):
        found = estimate(np.full(shape, 0.5))
        assert (found.noise, found.quality, found.strength) == (0.0, None, 0.0)

    @pytest.mark.parametrize("std", [0, 10, 25])
    def test_gravel_is_no_noise(self, std):
        """Its texture alone was estimated as 8."""
        found = estimate(noisy_of(photographs.gravel()[:, :, None], std))
        assert found.noise == pytest.approx(std, abs=3)
        assert found.strength == (std > 0)

    @pytest.mark.parametrize("name", ["astronaut", "camera", "coffee", "rocket"])
    def test_noise_in_the_dark_counts_as_in_light(self, name):
        dark = getattr(photographs, name)().reshape(*IMAGES[name]) / np.float32(255) / 4
        noisy = (CameraNoise((2, 2), (4, 4), (0.5, 0.5))(dark, np.random.default_rng(0)) * 255).round().clip(0, 255)
        clean, found = estimate(dark), estimate(noisy.astype(np.uint8), white=255)
        assert clean.strength < 0.1 and clean.bright < 0.3
        assert found.strength > 0.9 and "a dark image" in str(found)

    def test_looks_at_a_part_of_a_large_image(self):
        large = np.tile(noisy_of(photographs.camera()[:, :, None], 15), (4, 3, 1))
        assert estimate(large).noise == pytest.approx(15, rel=0.1)


class TestLossy:
    @pytest.mark.parametrize(
        ("name", "options", "lossy"),
        [
            ("a.jpg", {}, True),
            ("a.webp", {}, True),
            ("a.webp", {"lossless": True}, False),
            ("a.webp", {"lossless": True, "icc_profile": b"x" * 9000}, False),
            ("a.webp", {"icc_profile": b"VP8L" * 100}, True),
            ("a.png", {}, False),
            ("a.bmp", {}, False),
        ],
    )
    def test_formats(self, tmp_path, name, options, lossy):
        picture("RGB").save(tmp_path / name, **options)
        assert jpeg.is_lossy(tmp_path / name) == lossy

    def test_a_file_that_is_not_there_is_not(self, tmp_path):
        assert not jpeg.is_lossy(tmp_path / "absent.jpg")
