"""`metamixer restore`, and the choice of weights in `metamixer upscale`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metamixer.cli import main
from metamixer.data.images.lossless import read_picture, write_picture_file
from metamixer.predictors.restorer import Restorer
from metamixer.predictors.upscaler import Upscaler
from pictures import noise, packaged_restorers, picture, save_small_restorer


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_small_restorer(tmp_path_factory.mktemp("weights") / "color.safetensors")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def packaged(tmp_path_factory, monkeypatch):
    """Small weights in the package, also for `upscale`."""
    packaged_restorers(monkeypatch, tmp_path_factory.mktemp("packaged"), scales=(2, 3))


def restore(*arguments):
    return main(["restore", *map(str, arguments)])


class TestRestore:
    def test_writes_beside_the_image_and_says_what_it_found(self, checkpoint, capsys):
        picture("RGB", (64, 48)).save("a.jpg", quality=20)
        assert restore("a.jpg", "--checkpoint", checkpoint) == 0
        found, wrote, then = capsys.readouterr().out.splitlines()
        assert found.startswith("a.jpg: noise ") and found.endswith(", JPEG quality about 20, strength 1.00")
        assert wrote == "wrote a_restored.jpg" and then.startswith("next: ")
        with Image.open("a_restored.jpg") as image:
            assert image.size == (64, 48)

    def test_the_command_and_python_agree(self, checkpoint):
        picture("RGB").save("a.png")
        assert restore("a.png", "--checkpoint", checkpoint, "--strength", 0.6, "--out", "b.png") == 0
        expected = Restorer.load(checkpoint, strength=0.6)(picture("RGB"))
        np.testing.assert_array_equal(np.asarray(Image.open("b.png")), np.asarray(expected))

    def test_keeps_format_depth_and_alpha(self, checkpoint, here):
        (here / "in").mkdir()
        for mode in ("L", "LA", "RGB", "RGBA", "I;16"):
            picture(mode).save(f"in/{mode.replace(';', '')}.png")
        picture("RGB").save("in/a.webp")
        deep = read_picture(here / "in" / "RGBA.png")
        deep = deep.with_pixels(noise(20, 30, 3, np.uint16), noise(20, 30, 1, np.uint16)[:, :, 0])
        write_picture_file(deep, here / "in" / "deep.png")
        assert restore("in", "--checkpoint", checkpoint, "--out", "out", "--strength", 1) == 0
        for path in (here / "in").iterdir():
            before, after = read_picture(path), read_picture(here / "out" / path.name)
            assert (after.colour.shape, after.colour.dtype) == (before.colour.shape, before.colour.dtype), path
            assert after.format == before.format and (after.alpha is None) == (before.alpha is None)
            if before.alpha is not None:
                np.testing.assert_array_equal(after.alpha, before.alpha)

    def test_strength_0_is_the_identity(self, checkpoint):
        for mode in ("RGB", "LA", "I;16"):
            picture(mode).save("a.png")
            assert restore("a.png", "--checkpoint", checkpoint, "--strength", 0, "--out", "b.png", "--overwrite") == 0
            np.testing.assert_array_equal(np.asarray(Image.open("b.png")), np.asarray(Image.open("a.png")))

    def test_folders_comparisons_and_json(self, checkpoint, here, capsys):
        (here / "in" / "below").mkdir(parents=True)
        picture("RGB").save("in/a.png")
        picture("L").save("in/below/b.jpg")
        assert restore("in", "--checkpoint", checkpoint, "--compare", "--json", "-") == 0
        first, second = json.loads(capsys.readouterr().out)
        assert first["image"] == "in/a.png" and first["result"] == "restored/a.png"
        assert {"noise", "jpeg_quality", "strength", "scale"} <= set(first)
        assert second["jpeg_quality"] == 75
        with Image.open("restored/below/b_compare.jpg") as both:
            assert both.size == (2 * 30 + 8, 20)

    def test_enlarges_in_one_network(self, packaged):
        picture("RGB").save("a.png")
        assert restore("a.png", "--scale", 2) == 0
        with Image.open("a_restored.png") as image:
            assert image.size == (60, 40)

    def test_bad_files_are_named_and_the_others_done(self, checkpoint, here, capsys):
        (here / "in").mkdir()
        (here / "in" / "text.png").write_text("not an image")
        picture("RGB").convert("CMYK").save("in/print.jpg")
        picture("RGB").save("in/good.png")
        assert restore("in", "--checkpoint", checkpoint, "--out", "out") == 2
        assert [path.name for path in (here / "out").iterdir()] == ["good.png"]
        error = capsys.readouterr().err
        assert "text.png: not a readable image" in error and "print.jpg: color mode CMYK" in error
        assert error.splitlines()[-1] == "metamixer: error: 2 of 3 files failed, named above; the others are in out"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("absent.png",), "absent.png: no such file"),
            (("a.png", "--strength", "2"), "strength 2.0, expected 0 to 1"),
            (("a.png", "--strength", "much"), "strength 'much', expected a number"),
            (("a.png", "--scale", "4"), "there are some for scales 1, 2, 3"),
            (("a.png", "--scale", "7"), "scale 7, expected one of 1, 2, 3, 4"),
            (("a.png", "--memory", "0"), "memory 0 MiB, expected at least"),
            (("a.png", "--ensemble", "3"), "error: ensemble 3, expected one of 1, 2, 4, 8"),
            (("a.png", "--out", "a.png"), "a.png: is"),
            (("a.png", "--out", "b.txt"), "out 'b.txt', expected a name that ends in one of .png"),
            (("a.png", "--max_pixels", "100"), "more than 100 pixels"),
            (("a.png", "--backend", "bogus"), "backend 'bogus', expected one of auto"),
            (("a.png", "--checkpoint", "absent.safetensors"), "absent.safetensors: no such file"),
            (("a.png", "--engine", "ray", "--compare", "--out", "out"), "compare True with --engine ray"),
            (("a.png", "--strenth", "1"), "restore --strenth: no such option; did you mean --strength?"),
        ],
    )
    def test_refuses_input_that_does_not_fit(self, arguments, message, packaged, here, capsys):
        picture("RGB").save("a.png")
        before = (here / "a.png").read_bytes()
        assert restore(*arguments) == 2
        error = capsys.readouterr().err
        assert message in error and len(error.splitlines()) == 1
        assert [path.name for path in here.iterdir()] == ["a.png"]
        assert (here / "a.png").read_bytes() == before

    def test_existing_results_are_replaced_only_when_asked(self, checkpoint, capsys):
        picture("RGB").save("a.png")
        for extra, code in (((), 0), ((), 2), (("--overwrite",), 0)):
            assert restore("a.png", "--checkpoint", checkpoint, "--out", "b.png", *extra) == code
        assert "b.png: exists, expected another name or folder, or --overwrite" in capsys.readouterr().err

    def test_the_help_is_a_page(self, capsys):
        assert restore("--help") == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= 40 and "  metamixer restore photo.jpg" in lines


class TestUpscale:
    def test_mentions_the_photo_weights_after_lossless_files(self, packaged, capsys):
        picture("RGB").save("a.png")
        picture("RGB").save("a.jpg")
        for name, options, mentioned in (
            ("a.png", (), True),
            ("a.png", ("--weights", "clean"), False),
            ("a.jpg", (), False),
        ):
            self.upscaled(name, *options)
            assert ("--weights photo removes noise first" in capsys.readouterr().out) == mentioned

    def upscaled(self, name, *arguments):
        assert main(["upscale", name, "--out", f"large_{name}", "--overwrite", *map(str, arguments)]) == 0
        return np.asarray(Image.open(f"large_{name}"))

    def expected(self, predictor, name):
        predictor(name).save(f"expected_{name}")
        return np.asarray(Image.open(f"expected_{name}"))

    def test_weights_follow_the_file(self, packaged, capsys):
        picture("RGB").save("a.jpg")
        picture("RGB").save("b.png")
        clean = Upscaler.load(scale=2)
        photo = self.upscaled("a.jpg")
        assert "a.jpg: lossy file, photo weights, strength 1.00\n" in capsys.readouterr().out
        np.testing.assert_array_equal(self.upscaled("b.png"), self.expected(clean, "b.png"))
        assert "b.png: lossless file, clean weights\n" in capsys.readouterr().out
        np.testing.assert_array_equal(self.upscaled("a.jpg", "--weights", "clean"), self.expected(clean, "a.jpg"))
        assert "a.jpg: clean weights\n" in capsys.readouterr().out
        np.testing.assert_array_equal(self.upscaled("a.jpg", "--weights", "photo"), photo)
        assert not np.array_equal(photo, self.expected(clean, "a.jpg"))

    @pytest.mark.parametrize("command", ["upscale", "restore"])
    def test_a_name_of_two_lines_is_one_line(self, command, packaged, capsys):
        picture("RGB").save("a\nb.png")
        assert main([command, "a\nb.png", "--out", "found"]) == 0
        assert "a\\nb.png: " in capsys.readouterr().out

    def test_a_noisy_lossless_file_gets_the_photo_weights(self, packaged, capsys):
        noisy = 120 + 15 * np.random.RandomState(0).randn(64, 96, 3)
        Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8)).save("a.png")
        photo = self.upscaled("a.png")
        said = capsys.readouterr().out
        assert "a.png: lossless file, noise 1" in said and ", photo weights, strength 1.00\n" in said
        np.testing.assert_array_equal(self.upscaled("a.png", "--weights", "photo"), photo)
        np.testing.assert_array_equal(
            self.upscaled("a.png", "--weights", "clean"), self.expected(Upscaler.load(scale=2), "a.png")
        )

    def test_a_broken_file_stops_no_others(self, packaged, capsys):
        Path("a.png").write_bytes(b"no image")
        picture("RGB").save("b.png")
        assert main(["upscale", "a.png", "b.png", "--out", "out"]) == 2
        assert Path("out/b.png").is_file() and "a.png" in capsys.readouterr().err

    @pytest.mark.parametrize("scale", [2, 3])
    @pytest.mark.parametrize("quality", [20, 88])
    def test_photo_weights_restore_as_much_as_needed(self, scale, quality, packaged):
        picture("RGB").save("a.jpg", quality=quality)
        enlarged = self.upscaled("a.jpg", "--scale", scale)
        result = Restorer.load(scale=scale)("a.jpg")
        assert (result.strength == 1) == (quality == 20) and result.strength > 0
        result.image.save("expected.jpg", quality=95, subsampling=0)
        difference = np.abs(enlarged.astype(int) - np.asarray(Image.open("expected.jpg")))
        assert difference.mean() < 2
        clean = self.upscaled("a.jpg", "--scale", scale, "--weights", "clean")
        assert np.abs(enlarged.astype(int) - clean).mean() > 2 * difference.mean()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--weights", "good"), "weights 'good', expected one of clean, photo"),
            (("--weights", "photo", "--scale", "5"), "scale 5, expected one of 2, 3, 4"),
            (("--weights", "photo", "--model", "ffnet_sr_nano"), "weights 'photo' with --model or --checkpoint"),
            (("--weights", "photo", "--engine", "ray", "--out", "out"), "weights 'photo' with --engine ray"),
            (("--scale", "5"), "scale 5, expected one of 2, 3, 4"),
        ],
    )
    def test_refuses_what_does_not_fit(self, arguments, message, packaged, capsys):
        picture("RGB").save("a.jpg")
        assert main(["upscale", "a.jpg", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error and len(error.splitlines()) == 1
