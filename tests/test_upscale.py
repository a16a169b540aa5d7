"""`metamixer upscale`: files keep their format and depth; files that can't be processed are named."""

import re
import runpy
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from metamixer.cli import main
from metamixer.commands.picture_files import ImageJob
from metamixer.commands.picture_files import process_file as upscale_file
from metamixer.data.images.deep_png import PNG_SIGNATURE
from metamixer.data.images.lossless import PictureFile, metadata_of, read_picture, write_picture_file
from metamixer.data.images.transparency import extend_color
from metamixer.errors import InputError
from metamixer.predictors.upscaler import Upscaler
from pictures import noise, picture, save_small_upscaler


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_small_upscaler(tmp_path_factory.mktemp("weights") / "x2.safetensors")


@pytest.fixture(scope="module")
def upscaler(checkpoint):
    return Upscaler(checkpoint=checkpoint)


def files(folder):
    """Every kind of supported file: name -> path."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a harbour"
    about = {"exif": exif.tobytes(), "icc_profile": profile}
    picture("RGB").save(folder / "photo.jpg", **about)
    picture("RGB").save(folder / "photo.webp", **about)
    picture("L").save(folder / "grey.jpeg", **about)
    for mode in ("L", "LA", "RGB", "RGBA", "I;16"):
        picture(mode).save(folder / f"{mode.replace(';', '')}.png", **about)
    for channels, alpha in ((3, None), (3, 1), (1, 1)):
        colour, alpha = noise(20, 30, channels, np.uint16), alpha and noise(20, 30, 1, np.uint16)[:, :, 0]
        write_picture_file(
            PictureFile(colour, alpha, "PNG", exif.tobytes(), profile),
            folder / f"deep{channels}{alpha is not None}.png",
        )
    return sorted(folder.iterdir())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


class TestFiles:
    def test_keep_format_and_depth(self, folder, tmp_path, upscaler):
        paths = files(folder)
        assert len(paths) == 11
        for path in paths:
            upscale_file(upscaler, ImageJob(path, tmp_path / "out" / path.name))
            before, after = read_picture(path), read_picture(tmp_path / "out" / path.name)
            assert after.colour.shape == (40, 60, before.colour.shape[2]), path
            assert after.colour.dtype == before.colour.dtype
            assert (after.alpha is None) == (before.alpha is None)
            assert (after.format, after.icc_profile) == (before.format, before.icc_profile)
            with Image.open(path) as image, Image.open(tmp_path / "out" / path.name) as enlarged:
                assert (enlarged.getexif()[0x0112], enlarged.getexif()[0x010E]) == (6, "a harbour")
                assert enlarged.mode == image.mode

    def test_16_bits_are_kept(self, folder):
        files(folder)
        for name in ("deep3False.png", "deep3True.png", "deep1True.png"):
            picture = read_picture(folder / name)
            channels = picture.colour.shape[2]
            np.testing.assert_array_equal(picture.colour, noise(20, 30, channels, np.uint16))
            if picture.alpha is not None:
                np.testing.assert_array_equal(picture.alpha, noise(20, 30, 1, np.uint16)[:, :, 0])

    @pytest.mark.parametrize(("transparency", "expected"), [(None, "RGB"), (0, "RGBA")])
    def test_a_palette_becomes_colours(self, folder, tmp_path, upscaler, transparency, expected):
        about = {} if transparency is None else {"transparency": transparency}
        picture("RGB").convert("P").save(folder / "palette.png", **about)
        upscale_file(upscaler, ImageJob(folder / "palette.png", tmp_path / "palette.png"))
        with Image.open(tmp_path / "palette.png") as image:
            assert (image.mode, image.size) == (expected, (60, 40))

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_a_preview_is_upright(self, folder, orientation):
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture("RGB").save(folder / "turned.png", exif=exif.tobytes())
        with Image.open(folder / "turned.png") as image:
            from PIL import ImageOps

            np.testing.assert_array_equal(read_picture(folder / "turned.png").preview(), ImageOps.exif_transpose(image))

    @pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp", "deep.png"])
    def test_keep_resolution_and_xmp(self, folder, tmp_path, upscaler, name):
        pixels = noise(20, 30, 3, np.uint16 if name == "deep.png" else np.uint8)
        xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>'
        form = Image.registered_extensions()[f".{name.split('.')[1]}"]
        write_picture_file(PictureFile(pixels, None, form, xmp=xmp, dpi=(300, 200)), folder / name)
        upscale_file(upscaler, ImageJob(folder / name, tmp_path / name))
        after = read_picture(tmp_path / name)
        if form != "WEBP":  # which has no resolution
            assert tuple(map(round, after.dpi)) == (300, 200)
        if form != "TIFF":  # where Pillow writes none
            assert after.xmp == xmp

    @pytest.mark.parametrize("dpi", [(0, 0), (1e9, 1e9), (float("nan"), 72)])
    def test_a_resolution_out_of_range_is_dropped(self, dpi):
        image = Image.new("L", (2, 2))
        image.info["dpi"] = dpi
        assert metadata_of(image) == {}

    def test_a_lossless_webp_stays_lossless(self, folder):
        for lossless in (True, False):
            picture("RGB").save(folder / "a.webp", lossless=lossless)
            before = read_picture(folder / "a.webp")
            write_picture_file(before, folder / "b.webp")
            assert np.array_equal(read_picture(folder / "b.webp").colour, before.colour) == lossless

    def test_keep_an_orientation_stored_after_the_pixels(self, folder, tmp_path, upscaler):
        exif = Image.Exif()
        exif[0x0112] = 6
        picture("RGB").save(folder / "a.png", exif=exif)
        content = (folder / "a.png").read_bytes()
        start = content.index(b"eXIf") - 4
        end = start + 12 + struct.unpack(">I", content[start : start + 4])[0]
        (folder / "a.png").write_bytes(content[:start] + content[end:-12] + content[start:end] + content[-12:])
        upscale_file(upscaler, ImageJob(folder / "a.png", tmp_path / "a.png"))
        with Image.open(tmp_path / "a.png") as enlarged:
            assert enlarged.getexif()[0x0112] == 6


def bad_files(folder):
    """Files that can't be enlarged: name -> part of the message."""
    (folder / "text.png").write_text("not an image")
    (folder / "empty.jpg").write_bytes(b"")
    picture("RGB", (300, 200)).save(folder / "whole.png")
    (folder / "truncated.png").write_bytes((folder / "whole.png").read_bytes()[:2000])
    (folder / "whole.png").unlink()
    header = struct.pack(">2I5B", 0, 10, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    zero = PNG_SIGNATURE + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (folder / "zero.png").write_bytes(zero)
    picture("RGB").convert("CMYK").save(folder / "print.jpg")
    frames = [picture("RGB"), picture("RGB").transpose(Image.Transpose.ROTATE_180)]
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:])
    picture("RGB").save(folder / "still.gif")
    Image.new("L", (600, 600)).save(folder / "gigantic.png")
    return {
        "text.png": "not a readable image",
        "empty.jpg": "not a readable image",
        "truncated.png": "not a readable image",
        "zero.png": "not a readable image",
        "print.jpg": "color mode CMYK, expected gray, RGB or a palette",
        "moving.webp": "2 frames",
        "still.gif": "a GIF file, expected one of PNG, JPEG",
        "gigantic.png": "more than 100000 pixels, expected fewer, or a larger --max_pixels",
    }


def test_uses_the_first_of_a_cameras_two_images(folder, tmp_path, upscaler):
    picture("RGB").save(folder / "camera.jpg", format="MPO", save_all=True, append_images=[picture("RGB")])
    upscale_file(upscaler, ImageJob(folder / "camera.jpg", tmp_path / "camera.jpg"))
    with Image.open(tmp_path / "camera.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (60, 40))


def test_names_a_result_too_large_for_its_format_before_the_work(folder, tmp_path, upscaler, monkeypatch):
    Image.new("RGB", (8192, 2)).save(folder / "wide.webp")
    monkeypatch.setattr(upscaler, "enlarge", None)
    with pytest.raises(InputError, match="would be 16384x4 pixels, expected at most 16383 a side, the limit of WEBP"):
        upscale_file(upscaler, ImageJob(folder / "wide.webp", tmp_path / "wide.webp"))


def test_the_demo_s_photograph_comes_out_better_than_bicubic(tmp_path, monkeypatch, capsys):
    example = Path(__file__).parents[1] / "examples" / "enlarge_photograph.py"
    monkeypatch.setattr(sys, "argv", [str(example), "--out", str(tmp_path)])
    runpy.run_path(str(example), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["x2", "x3", "x4"]
    for line in lines:
        bicubic, ours = map(float, re.findall(r"([\d.]+) dB", line))
        assert ours > bicubic + 2
    assert len(list(tmp_path.glob("*.png"))) == 3


class TestCommand:
    def run(self, *arguments):
        return main(["upscale", *map(str, arguments)])

    def test_files_and_folders(self, checkpoint, folder, tmp_path, capsys):
        (folder / "below").mkdir()
        picture("RGB").save(folder / "a.png")
        picture("L").save(folder / "below" / "a.jpg")
        picture("RGBA").save(tmp_path / "single.webp")
        out = tmp_path / "out"
        assert self.run(folder, tmp_path / "single.webp", "--checkpoint", checkpoint, "--out", out, "--compare") == 0
        names = sorted(str(path.relative_to(out)) for path in out.rglob("*.*"))
        pictures = ["a.png", "below/a.jpg", "single.webp"]
        assert names == sorted([*pictures, "a_compare.jpg", "below/a_compare.jpg", "single_compare.jpg"])
        lines = [
            *map(str, (folder / "a.png", folder / "below/a.jpg", tmp_path / "single.webp")),
            f"wrote 3 images in {out}",
        ]
        assert capsys.readouterr().out.splitlines() == lines
        with Image.open(out / "a_compare.jpg") as both:
            assert both.size == (2 * 60 + 8, 40)

    def test_bad_files_are_named_and_the_others_done(self, checkpoint, folder, tmp_path, capsys):
        expected = bad_files(folder)
        picture("RGB").save(folder / "good.png")
        out = tmp_path / "out"
        assert self.run(folder, "--checkpoint", checkpoint, "--out", out, "--max_pixels", 100000) == 2
        assert [path.name for path in out.iterdir()] == ["good.png"]
        errors = capsys.readouterr().err.splitlines()
        for name, message in expected.items():
            line = next(line for line in errors if f"{name}:" in line)
            assert message in line
        assert errors[-1] == f"metamixer: error: 8 of 9 files failed, named above; the others are in {out}"
        assert "Traceback" not in "".join(errors)

    def test_a_missing_file_does_not_stop_the_others(self, checkpoint, folder, tmp_path, capsys):
        picture("RGB").save(folder / "a.png")
        assert self.run("absent.png", folder / "a.png", "--checkpoint", checkpoint, "--out", tmp_path / "out") == 2
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
        assert "metamixer: failed: absent.png: no such file" in capsys.readouterr().err

    def test_compares_an_image_with_broken_exif(self, checkpoint, folder, tmp_path):
        picture("RGB").save(folder / "a.jpg", exif=b"Exif\0\0nonsense")
        assert self.run(folder, "--checkpoint", checkpoint, "--out", tmp_path / "out", "--compare") == 0
        assert (tmp_path / "out" / "a_compare.jpg").is_file()

    def test_images_of_one_name_have_comparisons_of_their_own(self, checkpoint, folder, tmp_path):
        picture("RGB").save(folder / "a.jpg")
        picture("RGB").save(folder / "a.png")
        picture("RGB").save(folder / "b.png")
        assert self.run(folder, "--checkpoint", checkpoint, "--out", tmp_path / "out", "--compare") == 0
        comparisons = sorted(path.name for path in (tmp_path / "out").glob("*_compare.jpg"))
        assert comparisons == ["a.jpg_compare.jpg", "a.png_compare.jpg", "b_compare.jpg"]

    def test_an_interrupt_names_what_failed_before(self, checkpoint, folder, tmp_path, monkeypatch, capsys):
        (folder / "a.png").write_text("not an image")
        picture("RGB").save(folder / "b.png")

        def interrupt(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr(Image.Image, "save", interrupt)
        assert self.run(folder, "--checkpoint", checkpoint, "--out", tmp_path / "out") == 130
        assert f"{folder / 'a.png'}: not a readable image" in capsys.readouterr().err

    def test_replaces_files_only_when_asked(self, checkpoint, folder, tmp_path, capsys):
        picture("RGB").save(folder / "a.png")
        out = tmp_path / "out"
        for extra, code in (((), 0), ((), 2), (("--overwrite",), 0)):
            assert self.run(folder, "--checkpoint", checkpoint, "--out", out, *extra) == code
        assert f"{out / 'a.png'}: exists, expected another name or folder, or --overwrite" in capsys.readouterr().err

    def test_checks_for_existing_comparisons_too(self, checkpoint, folder, tmp_path, capsys):
        picture("RGB").save(folder / "a.png")
        picture("RGB").save(folder / "b.png")
        command = folder, "--checkpoint", checkpoint, "--out", tmp_path / "out", "--compare"
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "b_compare.jpg").write_text("before")
        assert self.run(*command) == 2
        assert "b_compare.jpg: exists, expected another name" in capsys.readouterr().err
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["b_compare.jpg"]
        picture("RGB").save(folder / "a_compare.jpg")
        assert self.run(*command, "--overwrite") == 2
        assert "a_compare.jpg: the target of two results" in capsys.readouterr().err

    def test_one_image_ends_with_the_files_written(self, checkpoint, folder, tmp_path, capsys):
        picture("RGB").save(folder / "a.png")
        large = tmp_path / "large.png"
        assert self.run(folder / "a.png", "--checkpoint", checkpoint, "--out", large, "--compare") == 0
        assert capsys.readouterr().out.splitlines() == [f"wrote {large}, {tmp_path / 'large_compare.jpg'}"]

    @pytest.mark.parametrize("out", ["", "a.png"])
    @pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
    def test_never_replaces_its_input(self, checkpoint, folder, capsys, overwrite, out):
        picture("RGB").save(folder / "a.png")
        before = (folder / "a.png").read_bytes()
        assert self.run(folder / "a.png", "--checkpoint", checkpoint, "--out", folder / out, *overwrite) == 2
        assert "is one of the inputs, expected another folder or name for the result" in capsys.readouterr().err
        assert (folder / "a.png").read_bytes() == before

    def test_refuses_two_images_of_one_name(self, checkpoint, folder, tmp_path, capsys):
        for place in (folder, tmp_path):
            picture("RGB").save(place / "a.png")
        assert self.run(folder, tmp_path / "a.png", "--checkpoint", checkpoint, "--out", tmp_path / "out") == 2
        assert "expected images with different names" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_names_an_output_that_cannot_be_written(self, checkpoint, folder, tmp_path, capsys):
        picture("RGB").save(folder / "a.png")
        (tmp_path / "file").write_text("in the way")
        assert self.run(folder, "--checkpoint", checkpoint, "--out", tmp_path / "file" / "out") == 2
        assert "can't be written" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("absent.png",), "absent.png: no such file"),
            (("{a}", "--scale", "two"), "scale 'two', expected a whole number"),
            (("--overwrite", "{a}", "--device", "bogus"), "device 'bogus' is not available; choose from: cpu"),
            (("{a}", "--precision", "int8"), "precision 'int8', expected one of fp32, bf16"),
            (("{a}", "--scale", "5"), "scale 5, expected one of 2, 3, 4"),
            (("{a}", "--backend", "bogus"), "backend 'bogus', expected one of auto"),
            (("{a}", "--max_pixels", "-3"), "max_pixels -3, expected at least 1"),
            (("{a}", "--memory", "0"), "memory 0 MiB, expected at least"),
            (("{a}", "--ensemble", "3"), "error: ensemble 3, expected one of 1, 2, 4, 8"),
            (("{a}", "--memory", "-1"), "memory -1 MiB, expected at least"),
            (("{a}", "--checkpoint", "absent.safetensors"), "absent.safetensors: no such file"),
        ],
    )
    def test_refuses_input_that_does_not_fit(self, arguments, message, checkpoint, folder, tmp_path, capsys):
        picture("RGB").save(folder / "a.png")
        own = () if "--checkpoint" in arguments else ("--checkpoint", checkpoint)
        given = [argument.replace("{a}", str(folder / "a.png")) for argument in arguments]
        assert self.run(*given, *own, "--out", tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.splitlines()) == 1

    def test_a_tiff_that_would_lose_depth_is_refused(self, checkpoint, folder, tmp_path, capsys):
        write_tiff_of_16_bits(folder / "deep.tif", side=8)
        assert self.run(folder, "--checkpoint", checkpoint, "--out", tmp_path / "out") == 2
        assert "deep.tif: a TIFF with 16 bits per channel, expected 8" in capsys.readouterr().err

    def test_an_interrupt_leaves_no_incomplete_file(self, checkpoint, folder, tmp_path, monkeypatch, capsys):
        picture("RGB").save(folder / "a.png")

        def interrupt(image, file, *args, **kwargs):
            file.write_bytes(b"half")
            raise KeyboardInterrupt

        monkeypatch.setattr(Image.Image, "save", interrupt)
        assert self.run(folder, "--checkpoint", checkpoint, "--out", tmp_path / "out") == 130
        assert not list((tmp_path / "out").iterdir())
        assert "interrupted" in capsys.readouterr().err


def write_tiff_of_16_bits(path, *, side):
    """An RGB image in a format that Pillow reads but doesn't write."""
    tags = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 3, 122), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 128), (277, 3, 1, 3), (278, 4, 1, side), (279, 4, 1, 6 * side**2)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    path.write_bytes(
        b"II*\0"
        + struct.pack("<I", 8)
        + directory
        + struct.pack("<3H", 16, 16, 16)
        + bytes(range(256)) * (6 * side**2 // 256 + 1)
    )


def test_transparent_pixels_have_the_color_of_the_visible_ones_near_them():
    color, alpha = np.zeros((20, 30, 3), np.uint8), np.zeros((20, 30), np.uint8)
    color[5:12, 7:20] = (200, 100, 50)
    alpha[5:12, 7:20] = 255
    np.testing.assert_array_equal(extend_color(color, alpha), np.broadcast_to(color[6, 8], color.shape))
    np.testing.assert_array_equal(extend_color(color, np.zeros_like(alpha)), color)
    assert extend_color(color, np.ones_like(alpha)) is color


def test_transparent_pixels_between_two_colors_take_the_nearer_one():
    color = np.where(np.arange(32)[:, None] < 16, np.uint16(1000), np.uint16(60000))[None].repeat(20, axis=0)
    alpha = np.full((20, 32), 65535, np.uint16)
    alpha[:, 14:18] = 0
    np.testing.assert_array_equal(extend_color(np.where(alpha[:, :, None] > 0, color, 0), alpha), color)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_no_dark_rim_at_a_transparent_edge(mode, upscaler):
    """A shape on transparency and the same color everywhere give the same image where the shape is."""
    alpha = Image.new("L", (30, 20))
    alpha.paste(255, (8, 5, 22, 15))
    opaque = Image.new("L" if mode == "LA" else "RGB", alpha.size, 180 if mode == "LA" else (180, 90, 40))
    cut = Image.composite(opaque, Image.new(opaque.mode, opaque.size), alpha)
    cut.putalpha(alpha)
    visible = np.asarray(upscaler(cut))[10:30, 16:44, :-1]
    expected = np.asarray(upscaler(opaque)).reshape(40, 60, -1)[10:30, 16:44]
    np.testing.assert_array_equal(visible, expected)
