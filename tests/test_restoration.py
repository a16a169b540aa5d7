"""Degradations, pairs of degraded and clean images, the restoration network, and a short training."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import metamixer
from metamixer.checkpoints.ours import load_checkpoint, without_start
from metamixer.data import RestorationData
from metamixer.data.restoration.degradation import (
    DEGRADATIONS,
    Blur,
    CameraNoise,
    Degradation,
    InOrder,
    Jpeg,
    Noise,
    OneOf,
    Shuffled,
    sometimes,
    unchanged,
)
from metamixer.data.restoration.pairs import DegradedImages, DegradedPatches
from metamixer.data.super_resolution.quality import ssim, to_pixels
from metamixer.errors import InputError
from metamixer.models.receptive_field import receptive_field
from metamixer.tasks import Restoration
from metamixer.tasks.super_resolution import psnr_loss
from metamixer.training import command_line

SMALL = {"dim": 8, "depth": 2}


def scene(height, width, channels=3):
    """A smooth image with edges, (H, W, C) uint8."""
    y, x = np.mgrid[:height, :width]
    shades = [128 + 60 * np.sin(x / 9 + c) * np.cos(y / 7) + 40 * (x > width / 2) for c in range(channels)]
    return np.stack(shades, axis=2).round().astype(np.uint8)


def seeded(seed=0):
    return np.random.default_rng(seed)


def plain(value=0.5, side=256, channels=1):
    return np.full((side, side, channels), value, np.float32)


def blockiness(pixels):
    """Mean step across the borders of JPEG's blocks over the mean step elsewhere."""
    steps = np.abs(np.diff(pixels[:, :, 0], axis=1))
    borders = np.arange(steps.shape[1]) % 8 == 7
    return steps[:, borders].mean() / steps[:, ~borders].mean()


class TestDegradation:
    def test_noise_has_its_std_and_is_not_clipped(self):
        noisy = Noise((25, 25))(plain(1.0), seeded())
        assert (noisy - 1).std() * 255 == pytest.approx(25, rel=0.02)
        assert noisy.max() > 1.2

    def test_camera_noise_grows_with_brightness(self):
        noise = CameraNoise((5, 5), (20, 20))
        dark, bright = (noise(plain(value), seeded()).std() * 255 for value in (0.0, 1.0))
        assert dark == pytest.approx(5, rel=0.05)
        assert bright == pytest.approx((5**2 + 20**2) ** 0.5, rel=0.05)

    def test_blur_keeps_the_mean_and_smooths(self):
        pixels = scene(64, 64).astype(np.float32) / 255
        blurred = Blur((1.5, 1.5))(pixels, seeded())
        assert blurred.mean() == pytest.approx(pixels.mean(), abs=0.005)
        assert np.abs(np.diff(blurred, axis=1)).max() < 0.6 * np.abs(np.diff(pixels, axis=1)).max()
        assert Blur((0, 0))(pixels, seeded()) is pixels

    @pytest.mark.parametrize("channels", [1, 3])
    def test_jpeg_is_pillows(self, channels, tmp_path):
        pixels = scene(48, 64, channels)
        degraded = Jpeg((30, 30), (2,))(pixels.astype(np.float32) / 255, seeded())
        image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
        image.save(tmp_path / "a.jpg", quality=30)
        expected = np.asarray(Image.open(tmp_path / "a.jpg")).reshape(pixels.shape)
        np.testing.assert_allclose(degraded * 255, expected, atol=1e-3)
        assert blockiness(degraded) > 1.1 * blockiness(pixels.astype(np.float32))

    def test_steps_are_composed(self):
        def double(pixels, random):
            return pixels * 2

        def add(pixels, random):
            return pixels + 1

        assert InOrder([double, add])(plain(), seeded()).max() == 2
        found = {float(Shuffled([double, add])(plain(), seeded(seed)).max()) for seed in range(20)}
        assert found == {2.0, 3.0}
        chosen = [OneOf([double, unchanged], [3, 1])(plain(), seeded(seed)).max() for seed in range(200)]
        assert 0.6 < np.mean(np.equal(chosen, 1)) < 0.9
        assert sometimes(double, 0)(plain(), seeded()).max() == 0.5

    @pytest.mark.parametrize("name", DEGRADATIONS)
    @pytest.mark.parametrize(("scale", "channels"), [(1, 1), (1, 3), (2, 3), (4, 3)])
    def test_is_seeded_and_keeps_shape_and_type(self, name, scale, channels):
        pixels = scene(64, 96, channels).astype(np.float32) / 255
        first, same = (DEGRADATIONS[name](pixels, scale=scale, random=seeded(3)) for _ in range(2))
        assert first.shape == (64 // scale, 96 // scale, channels)
        assert first.dtype == np.float32
        np.testing.assert_array_equal(first, same)

    def test_training_sees_every_kind(self):
        """Some draws are unchanged, some noisy, some blocky."""
        pixels = scene(64, 64, 1).astype(np.float32) / 255
        drawn = [DEGRADATIONS["noise_or_jpeg"](pixels, scale=1, random=seeded(seed)) for seed in range(150)]
        assert any(np.array_equal(each, pixels) for each in drawn)
        assert any(each.max() > 1 or each.min() < 0 for each in drawn)
        assert any(blockiness(each) > 1.1 * blockiness(pixels) for each in drawn)


@pytest.fixture
def root(tmp_path):
    """Clean images in color and in gray."""
    (tmp_path / "clean").mkdir()
    Image.fromarray(scene(49, 66)).save(tmp_path / "clean" / "a.png")
    Image.fromarray(scene(40, 42, 1)[:, :, 0]).save(tmp_path / "clean" / "b.png")
    return tmp_path


def files(root):
    return sorted((root / "clean").iterdir())


class TestPairs:
    @pytest.mark.parametrize(("scale", "channels"), [(1, 1), (1, 3), (2, 3), (4, 1)])
    def test_patches_belong_together(self, root, scale, channels):
        """Without a degradation, the small patch is the large one, reduced."""
        patches = DegradedPatches(files(root), Degradation(unchanged), scale=scale, channels=channels, count=6, size=32)
        torch.manual_seed(0)
        for degraded, clean in (patches[i] for i in range(6)):
            assert clean.shape == (channels, 32, 32)
            assert degraded.shape == (channels, 32 // scale, 32 // scale)
            reduced = nn.functional.avg_pool2d(clean, scale)
            assert (degraded - reduced)[:, 2:-2, 2:-2].abs().max() < (1e-6 if scale == 1 else 0.15)

    def test_jpegs_blocks_begin_anywhere_in_a_patch(self, root):
        patches = DegradedPatches(files(root)[:1], DEGRADATIONS["jpeg_10"], scale=1, channels=1, count=40, size=24)
        torch.manual_seed(0)
        first = set()
        for degraded, _ in (patches[i] for i in range(40)):
            steps = degraded[0].diff(dim=1).abs().mean(dim=0)
            first.add(int(torch.stack([steps[offset::8].mean() for offset in range(8)]).argmax()))
        assert len(first) >= 5

    @pytest.mark.parametrize("gray", [0.0, 1.0])
    def test_gray_patches_are_gray_before_and_after(self, tmp_path, gray):
        Image.fromarray(scene(48, 48)).save(tmp_path / "color.png")
        noise = Degradation(Noise((20, 20)))
        patches = DegradedPatches([tmp_path / "color.png"], noise, scale=1, channels=3, count=4, size=32, gray=gray)
        torch.manual_seed(0)
        for pair in (patches[i] for i in range(4)):
            for image in pair:
                assert image.shape == (3, 32, 32)
                assert ((image - image[:1]).abs().max() < 1e-6) == (gray == 1)

    def test_whole_images_in_all_degradations(self, root):
        images = DegradedImages(
            files(root), [Degradation(Noise((9, 9))), Degradation(unchanged)], scale=1, channels=1, multiple=2
        )
        assert len(images) == 4
        assert images[0][1].shape == (1, 48, 66)
        assert torch.equal(images[0][0], images[0][0])
        degraded, clean = images[2]
        torch.testing.assert_close(degraded * 255, clean.float())

    def test_epochs_differ_and_repeat(self, root):
        def epoch(number):
            data = RestorationData(str(root), train=["clean"], patch_size=16, batch_size=4, patches_per_epoch=8)
            loader = data.train_dataloader()
            loader.sampler.set_epoch(number)
            return torch.cat([degraded for degraded, _ in loader])

        assert torch.equal(epoch(0), epoch(0))
        assert not torch.equal(epoch(0), epoch(1))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"channels": 4}, "channels 4, expected 1 or 3"),
            ({"patch_size": 33, "scale": 2}, "patch_size 33, expected a multiple of the scale, 2"),
            ({"scale": 0}, "scale 0, expected at least 1"),
            ({"patches_per_epoch": 0}, "patches_per_epoch 0, expected at least 1"),
            ({"gray": 1.5}, r"data\.gray 1\.5 with channels 3, expected 0 to 1"),
            ({"gray": 0.1, "channels": 1}, r"data\.gray 0\.1 with channels 1, expected 0"),
            ({"val_degradations": []}, r"data\.val_degradations is empty, expected names"),
            ({"degradation": "fog"}, r"data\.degradation 'fog', expected one of noise_or_jpeg"),
            ({"val_degradations": ["fog"]}, r"data\.val_degradations 'fog', expected one of"),
        ],
    )
    def test_refuses_unknown_settings(self, settings, message):
        with pytest.raises(InputError, match=message):
            RestorationData(**settings)

    def test_names_missing_folders_and_small_images(self, root):
        with pytest.raises(InputError, match=r"data\.train is empty"):
            RestorationData().train_dataloader()
        images = DegradedImages([root / "small.png"], [Degradation(unchanged)], scale=1, channels=3, multiple=2)
        for side in (1, 4, 13):
            Image.fromarray(scene(side, 19)).save(root / "small.png")
            with pytest.raises(InputError, match=rf"small\.png: 19x{side} pixels, expected at least 14 a side"):
                images[0]
        Image.fromarray(scene(14, 19)).save(root / "small.png")
        degraded, clean = images[0]
        assert ssim(to_pixels(degraded), clean.permute(1, 2, 0).numpy(), border=1) == pytest.approx(1)


class TestNetwork:
    @pytest.mark.parametrize(("scale", "channels"), [(1, 1), (1, 3), (2, 3), (3, 3), (4, 1)])
    def test_gives_images_of_its_scale(self, scale, channels):
        network = metamixer.create_model("ffnet_restore", scale=scale, in_chans=channels, **SMALL)
        assert network(torch.rand(2, channels, 12, 18)).shape == (2, channels, 12 * scale, 18 * scale)

    @torch.no_grad()
    @pytest.mark.parametrize("scale", [1, 2])
    def test_without_details_repeats_the_image(self, scale):
        network = metamixer.create_model("ffnet_restore", scale=scale, **SMALL)
        nn.init.zeros_(network.head.weight)
        x = torch.rand(1, 3, 8, 6)
        torch.testing.assert_close(network(x), nn.functional.interpolate(x, scale_factor=scale))

    @torch.no_grad()
    def test_begins_with_a_signal_of_unit_variance(self):
        """From the stem to the head, so that training leaves the plateau of a linear filter."""
        torch.manual_seed(0)
        for name in ("ffnet_restore", "ffnet_sr_nano", "ffnet_sr_light"):
            network = metamixer.create_model(name)
            signal = network.stem(network.fold(torch.rand(1, 3, 64, 64)))
            for block in network.blocks:
                assert 0.7 < signal.std() < 2.2
                signal = block(signal)

    def test_trains_from_the_first_steps(self):
        """100 steps on one noisy image: the error falls well below the noise."""
        torch.manual_seed(0)
        network = metamixer.create_model("ffnet_restore", in_chans=1, dim=16, depth=3)
        clean = torch.from_numpy(scene(32, 32, 1)[:, :, 0] / 255).float()[None, None]
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
        for _ in range(100):
            noisy = clean + 0.1 * torch.randn(4, 1, 32, 32)
            loss = (network(noisy) - clean).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert loss < 0.5 * (noisy - clean).abs().mean()

    @torch.no_grad()
    def test_the_receptive_field_is_correct(self):
        """A changed pixel changes the result within the receptive field, and not beyond."""
        network = metamixer.create_model("ffnet_restore", **SMALL)
        reach = receptive_field(network)
        x = torch.rand(1, 3, 2 * reach + 8, 6, dtype=torch.float64)
        network.double()
        middle = reach + 4 - reach % 2
        for row in (middle, middle + 1):
            changed = x.clone()
            changed[:, :, row] += 1
            rows = (network(changed) - network(x)).abs().amax(dim=(0, 1, 3)).nonzero().flatten()
            assert reach - 1 <= max(abs(rows - row)) <= reach

    @torch.no_grad()
    def test_of_photographs_restores_then_enlarges(self):
        network = metamixer.create_model("ffnet_photograph", scale=3, **SMALL)
        x = torch.rand(1, 3, 8, 6)
        assert (network.restore.scale, network.enlarge.scale, network.patch) == (1, 3, 2)
        torch.testing.assert_close(network(x), network.enlarge(network.restore(x)))
        assert receptive_field(network) == receptive_field(network.restore) + receptive_field(network.enlarge)

    @torch.no_grad()
    def test_of_photographs_starts_from_the_packaged_weights_of_both(self):
        parts = {"restore": {"pretrained": True}, "enlarge": {"pretrained": True}}
        network = metamixer.create_model("ffnet_photograph", **parts)
        restore = metamixer.create_model("ffnet_restore", pretrained=True)
        enlarge = metamixer.create_model("ffnet_sr_nano", scale=2, pretrained=True)
        x = torch.rand(1, 3, 8, 6)
        torch.testing.assert_close(network(x), enlarge(restore(x)))
        task = Restoration("ffnet_photograph", 2, model_args=parts)
        torch.testing.assert_close(task(x), network(x))
        assert without_start(task.model_args) == {"scale": 2, "in_chans": 3, "restore": {}, "enlarge": {}}

    @pytest.mark.parametrize("shape", [(1, 3, 7, 8), (1, 3, 8, 7)])
    def test_refuses_sides_that_it_cannot_fold(self, shape):
        network = metamixer.create_model("ffnet_restore", **SMALL)
        with pytest.raises(InputError, match="expected height and width to be multiples of 2"):
            network(torch.zeros(shape))

    def test_refuses_unknown_scales(self):
        with pytest.raises(InputError, match="scale 5, expected one of 1, 2, 3, 4"):
            metamixer.create_model("ffnet_restore", scale=5)


def fit(root, *extra):
    arguments = {
        "model": "Restoration",
        "model.model_args": "{dim: 8, depth: 1}",
        "model.channels": "1",
        "data": "RestorationData",
        "data.root": str(root),
        "data.channels": "1",
        "data.train": "[clean]",
        "data.val": "[clean]",
        "data.patch_size": "24",
        "data.batch_size": "4",
        "data.patches_per_epoch": "60",
        "trainer.enable_progress_bar": "false",
        "out": str(root / "run"),
    }
    given = {argument.split("=")[0].removeprefix("--") for argument in extra}
    flags = [f"--{key}={value}" for key, value in arguments.items() if key not in given]
    return command_line.run(["fit", *flags, *extra])


@pytest.mark.filterwarnings("ignore")
class TestTraining:
    def test_learns_and_writes_a_checkpoint(self, root):
        before = fit(root, "--trainer.max_epochs=1", "--data.patches_per_epoch=4").trainer.callback_metrics["val/psnr"]
        trained = fit(root, "--trainer.max_epochs=3", "--model.optimization.lr=0.01").trainer.callback_metrics
        assert trained["val/psnr"] > before
        network, info = load_checkpoint(root / "run" / "best.ckpt")
        assert (info["task"], info["model"]) == ("restoration", "ffnet_restore")
        assert info["model_args"] == {"scale": 1, "in_chans": 1, "dim": 8, "depth": 1}
        assert (network.scale, network.in_chans, network.patch) == (1, 1, 2)

    def test_color_and_enlarging_start_from_other_weights(self, root):
        fit(root, "--trainer.max_epochs=1", "--data.patches_per_epoch=4", "--model.channels=3", "--data.channels=3")
        start = ["--model.initial", str(root / "run" / "best.ckpt"), "--model.initial_head=false"]
        larger = ["--model.scale=2", "--data.scale=2", "--model.channels=3", "--data.channels=3"]
        run = fit(root, *start, *larger, "--trainer.max_epochs=0", f"--out={root / 'x2'}")
        first, _ = load_checkpoint(root / "run" / "best.ckpt")
        pairs = zip(first.blocks.parameters(), run.model.network.blocks.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)

    def test_channels_and_scale_must_be_the_datas(self, root):
        with pytest.raises(InputError, match=r"model\.channels 1, expected 3, the data's"):
            fit(root, "--data.channels=3")
        with pytest.raises(InputError, match=r"model\.scale 1, expected 2, the data's"):
            fit(root, "--data.scale=2")


def test_the_psnr_loss_weighs_every_patch_alike():
    target = torch.rand(2, 1, 8, 8)
    coarse, fine = 0.1 * torch.randn(1, 8, 8), 0.01 * torch.randn(1, 8, 8)
    both = psnr_loss(target + torch.stack([coarse, fine]), target)
    psnrs = [-10 * (error.square().mean() + 1e-5).log10() for error in (coarse, fine)]
    torch.testing.assert_close(both, -sum(psnrs) / 20)
    actual = (target + torch.stack([coarse, fine])).requires_grad_()
    psnr_loss(actual, target).backward()
    large, small = actual.grad.flatten(1).norm(dim=1)
    assert small > 5 * large, "a tenth of the error gives ten times the gradient"
    assert psnr_loss(target, target) == pytest.approx(-5), "a perfect patch is finite"


def test_an_unknown_loss_is_named():
    with pytest.raises(InputError, match="loss 'l3', expected l1 or psnr"):
        Restoration(model_args=SMALL, loss="l3")
