"""MATLAB's resizing, image pairs, the field's metrics, and a short training."""

import numpy as np
import pytest
import torch
from PIL import Image

from metamixer.checkpoints.ours import load_checkpoint
from metamixer.cli import main
from metamixer.data import SuperResolutionData
from metamixer.data.super_resolution.pairs import ImagePairs, Patches
from metamixer.data.super_resolution.quality import luma, psnr, ssim
from metamixer.data.super_resolution.resizing import _weights, imresize
from metamixer.errors import DivergenceError, InputError
from metamixer.tasks import SuperResolution
from metamixer.training import command_line


def noise(height, width, channels=3, seed=0):
    """Smooth noise."""
    small = np.random.RandomState(seed).rand(height // 4 + 1, width // 4 + 1, channels) * 255
    return np.kron(small, np.ones((4, 4, 1)))[:height, :width].astype(np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path)


@pytest.fixture
def root(tmp_path):
    """Large color and grayscale images, and their small images at x2."""
    for name, pixels in {"colour": noise(49, 65), "grey": noise(40, 42, 1, seed=1)}.items():
        save(tmp_path / "HR" / f"{name}.png", pixels)
        even = pixels[: len(pixels) // 2 * 2, : pixels.shape[1] // 2 * 2]
        save(tmp_path / "LR" / "X2" / f"{name}x2.png", imresize(even, 0.5))
    return tmp_path


class TestResizing:
    def test_halves_by_the_antialiased_kernel(self):
        """An impulse gives the cubic kernel with double width: its values at 1/4, 3/4, ... 7/4 pixels, halved."""
        row = np.zeros((1, 16), np.uint8)
        row[0, 8] = 255
        x = np.array([1.75, 0.75, 0.25, 1.25])
        kernel = np.where(x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2) / 2
        expected = np.clip(np.floor(255 * kernel + 0.5), 0, 255)
        np.testing.assert_array_equal(imresize(np.repeat(row, 16, axis=0), 0.5)[4, 2:6], expected[[0, 1, 2, 3]])

    def test_rounds_between_the_sides_as_matlab_does(self):
        """Columns first, rounded to whole numbers, then rows: the order changes the result."""
        pixels = np.random.RandomState(0).randint(0, 256, (32, 32), dtype=np.uint8)
        resized = imresize(pixels, 0.5)
        assert (resized != imresize(pixels.T, 0.5).T).any()
        assert np.abs(resized.astype(int) - imresize(pixels.T, 0.5).T).max() < 16

    @pytest.mark.parametrize("scale", [1 / 4, 1 / 3, 1 / 2, 2, 3, 4])
    def test_keeps_a_plain_area_and_rounds_sizes_up(self, scale):
        plain = np.full((13, 10, 3), 77, np.uint8)
        resized = imresize(plain, scale)
        assert resized.shape == (int(np.ceil(13 * scale)), int(np.ceil(10 * scale)), 3)
        assert (resized == 77).all()

    def test_few_of_the_large_matrices_are_kept(self):
        for side in range(10, 30):
            imresize(np.zeros((side, side), np.uint8), 2)
        assert _weights.cache_info().currsize <= 4


class TestQuality:
    def test_luma_is_studio_range_and_grayscale_stays(self):
        rgb = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0]]], np.uint8)
        np.testing.assert_allclose(luma(rgb), [[16, 235, 81.481]])
        np.testing.assert_array_equal(luma(rgb[:, :, :1]), rgb[:, :, 0])

    def test_psnr_of_a_known_error_without_the_border(self):
        original = np.full((20, 20, 1), 100, np.uint8)
        restored = original + np.uint8(5)
        restored[:2] = 255
        assert psnr(restored, original, border=2) == pytest.approx(20 * np.log10(255 / 5))
        assert psnr(original, original, border=2) == float("inf")

    def test_ssim_follows_its_formula_for_plain_areas(self):
        """Wang et al. 2004, equation 13: without variance, only the luminance term remains."""
        a, b = (np.full((30, 30, 1), value, np.uint8) for value in (100, 120))
        c1 = (0.01 * 255) ** 2
        expected = (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)
        assert ssim(a, b, border=2) == pytest.approx(expected, abs=1e-6)
        assert ssim(a, a, border=2) == pytest.approx(1)


class TestPairs:
    def test_are_cropped_to_the_scale_and_grayscale_stays_grayscale(self, root):
        made, paired = (ImagePairs([root / "HR"], small, scale=2) for small in ("", root / "LR"))
        for i, shape in enumerate([(3, 48, 64), (1, 40, 42)]):
            small, large = paired[i]
            assert tuple(large.shape) == shape
            assert (small.shape, large.dtype) == ((3, shape[1] // 2, shape[2] // 2), torch.uint8)
            assert torch.equal(small, made[i][0])

    @pytest.mark.parametrize("small", ["", "LR"])
    def test_patches_of_both_belong_together(self, root, small):
        pairs = ImagePairs([root / "HR"], root / small if small else "", scale=2)
        torch.manual_seed(0)
        for patch, large in (Patches(pairs, count=8, size=32)[i] for i in range(8)):
            assert (patch.shape, large.shape) == ((3, 16, 16), (3, 32, 32))
            again = imresize((large * 255).byte().permute(1, 2, 0).numpy(), 0.5)
            inside = np.abs(again / 255 - patch.permute(1, 2, 0).numpy())[2:-2, 2:-2]
            assert inside.max() <= 2 / 255

    def test_an_image_smaller_than_a_patch_is_mirrored(self, root):
        small, large = Patches(ImagePairs([root / "HR"], scale=2), count=2, size=80)[0]
        assert (small.shape, large.shape) == ((3, 40, 40), (3, 80, 80))

    def test_epochs_differ_and_repeat(self, root):
        def epoch(number):
            data = SuperResolutionData(str(root), train=["HR"], patch_size=16, batch_size=4, patches_per_epoch=8)
            loader = data.train_dataloader()
            loader.sampler.set_epoch(number)
            return torch.cat([large for _, large in loader])

        assert torch.equal(epoch(0), epoch(0))
        assert not torch.equal(epoch(0), epoch(1))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda root: (root / "LR" / "X2" / "greyx2.png").unlink(),
                r"grey.png: no small image in .*LR, expected greyx2.png or grey.png",
            ),
            (lambda root: save(root / "LR" / "X2" / "greyx2.png", noise(9, 9, 1)), "9x9 pixels, expected 21x20"),
            (lambda root: (root / "HR" / "grey.png").write_bytes(b"x"), "grey.png: not a readable image"),
            (lambda root: save(root / "HR" / "grey.png", noise(1, 9, 1)), "smaller than 2 pixels"),
            (
                lambda root: save(root / "LR" / "more" / "greyx2.png", noise(20, 21, 1)),
                r"HR/grey.png: its small image may be .*LR/X2/greyx2.png or .*LR/more/greyx2.png, expected one",
            ),
            (
                lambda root: save(root / "HR" / "more" / "grey.png", noise(40, 42, 1)),
                r"greyx2.png: the small image of .*HR/grey.png and of .*HR/more/grey.png, expected one for each",
            ),
        ],
    )
    def test_names_images_that_do_not_match(self, root, change, message):
        change(root)
        with pytest.raises(InputError, match=message):
            _ = [ImagePairs([root / "HR"], root / "LR", scale=2)[i] for i in range(2)]

    def test_images_of_one_name_are_paired_by_their_subfolders(self, tmp_path):
        for place in ("a", "b"):
            save(tmp_path / "HR" / place / "1.png", noise(8, 8))
            save(tmp_path / "LR" / place / "1x2.png", noise(4, 4))
        pairs = ImagePairs([tmp_path / "HR"], tmp_path / "LR", scale=2)
        assert pairs.small_files == [tmp_path / "LR" / place / "1x2.png" for place in ("a", "b")]

    def test_an_image_too_small_for_the_metrics_is_named(self, root):
        save(root / "HR" / "grey.png", noise(14, 42, 1))
        with pytest.raises(InputError, match=r"grey.png: 42x14 pixels, expected at least 15 a side for SSIM at x2"):
            ImagePairs([root / "HR"], scale=2)[1]
        least = noise(15, 15, 1)
        assert ssim(least, least, border=2) == pytest.approx(1)

    @pytest.mark.parametrize(("option", "value"), [("scale", 0), ("patches_per_epoch", -1)])
    def test_refuses_settings_without_patches(self, option, value):
        with pytest.raises(InputError, match=f"{option} {value}, expected at least 1"):
            SuperResolutionData(**{option: value})

    def test_pairs_are_of_pixels_as_stored(self, root):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(noise(48, 64)).save(root / "HR" / "colour.png", exif=exif)
        assert ImagePairs([root / "HR"], root / "LR", scale=2)[0][1].shape == (3, 48, 64)

    def test_workers_get_decoded_images(self, root, monkeypatch):
        data = SuperResolutionData(
            str(root), train=["HR"], patch_size=16, batch_size=4, patches_per_epoch=8, num_workers=1
        )
        loader = data.train_dataloader()
        monkeypatch.setattr("metamixer.data.super_resolution.pairs.read_pixels", None)
        assert len([batch for _ in range(2) for batch in loader]) == 4
        data = SuperResolutionData(str(root), train=["HR"], patch_size=16, num_workers=1, keep_decoded=False)
        data.train_dataloader()
        assert not data.patches.decoded

    def test_names_folders_without_images(self, root, tmp_path):
        (tmp_path / "nothing").mkdir()
        for folder, message in (("absent", "absent: no such folder"), ("nothing", "nothing: no images in this folder")):
            with pytest.raises(InputError, match=message):
                ImagePairs([tmp_path / folder], scale=2)
        with pytest.raises(InputError, match=r"data\.train is empty"):
            SuperResolutionData().train_dataloader()
        with pytest.raises(InputError, match="patch_size 65, expected a multiple of the scale, 2"):
            SuperResolutionData(patch_size=65)


def fit(root, *extra, command="fit"):
    arguments = {
        "model": "SuperResolution",
        "model.model": "ffnet_sr_nano",
        "model.model_args": "{dim: 8, depth: 1}",
        "data": "SuperResolutionData",
        "data.root": str(root),
        "data.train": "[HR]",
        "data.val": "[HR]",
        "data.patch_size": "24",
        "data.batch_size": "4",
        "data.patches_per_epoch": "40",
        "checkpoint.monitor": "val/psnr",
        "trainer.max_epochs": "2",
        "trainer.enable_progress_bar": "false",
        "out": str(root / "run"),
    }
    given = {argument.split("=")[0].removeprefix("--") for argument in extra}
    flags = [f"--{key}={value}" for key, value in arguments.items() if key not in given]
    return command_line.run([command, *flags, *extra])


def test_a_perfect_image_leaves_the_mean_finite(monkeypatch):
    task = SuperResolution("ffnet_sr_nano", model_args={"dim": 8, "depth": 1})
    large = torch.full((2, 3, 32, 32), 200, dtype=torch.uint8)
    enlarged = large / 255
    enlarged[1] -= 5 / 255
    monkeypatch.setattr(task, "forward", lambda small: enlarged)
    monkeypatch.setattr(task, "log_dict", lambda *_, **__: None)
    task.measure("val", (large[:, :, ::2, ::2] / 255, large))
    other = psnr(*(image[1].permute(1, 2, 0).numpy() for image in (large - 5, large)), border=2)
    assert task.measures["val"]["psnr"].compute().item() == pytest.approx((100 + other) / 2)


@pytest.mark.filterwarnings("ignore")
class TestTraining:
    def test_learns_and_its_checkpoint_enlarges(self, root, tmp_path, capsys):
        before = fit(root, "--trainer.max_epochs=1", "--data.patches_per_epoch=4").trainer.callback_metrics["val/psnr"]
        trained = fit(root, "--trainer.max_epochs=3", "--model.optimization.lr=0.01").trainer.callback_metrics
        assert trained["val/psnr"] > before
        assert 0 < trained["val/ssim"] <= 1
        network, info = load_checkpoint(root / "run" / "best.ckpt")
        assert (info["task"], info["model_args"], network.scale) == (
            "super_resolution",
            {"scale": 2, "dim": 8, "depth": 1},
            2,
        )
        assert (
            main(
                [
                    "upscale",
                    str(root / "HR"),
                    "--checkpoint",
                    str(root / "run" / "best.ckpt"),
                    "--out",
                    str(tmp_path / "out"),
                ]
            )
            == 0
        )
        with Image.open(tmp_path / "out" / "colour.png") as image:
            assert image.size == (130, 98)
        assert main(["fuse", str(root / "run" / "best.ckpt"), "--out", str(tmp_path / "x2.safetensors")]) == 0
        assert "parity on random images" in capsys.readouterr().out

    def test_another_scale_starts_from_its_weights(self, root):
        fit(root, "--trainer.max_epochs=1", "--data.patches_per_epoch=4")
        x2, _ = load_checkpoint(root / "run" / "best.ckpt")
        start = [
            "--model.initial",
            str(root / "run" / "best.ckpt"),
            "--model.initial_head=false",
            "--model.scale=3",
            "--data.scale=3",
        ]
        x3 = fit(root, *start, "--trainer.max_epochs=0", f"--out={root / 'x3'}").model.network
        assert all(torch.equal(a, b) for a, b in zip(x2.blocks.parameters(), x3.blocks.parameters(), strict=True))
        assert x3.head.out_channels == 27

    def test_scale_must_be_the_datas(self, root):
        with pytest.raises(InputError, match=r"model\.scale 2, expected 3, the data's"):
            fit(root, "--data.scale=3")

    def test_a_loss_that_is_not_finite_stops_it(self, root):
        with pytest.raises(DivergenceError, match=r"training loss is (nan|inf) at step"):
            fit(root, "--model.optimization.lr=1e30")
