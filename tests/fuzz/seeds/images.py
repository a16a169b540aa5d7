"""Images of every format, depth and kind of metadata, label maps, and folders and archives of images."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms

from metamixer.data.images.colour import read_colour_image
from metamixer.data.images.deep_png import write_deep_png
from metamixer.data.images.jpeg import is_lossy
from metamixer.data.images.lossless import read_picture, write_picture_file
from metamixer.data.images.outputs import ABOUT, CROPS, OutputCache
from metamixer.data.images.reading import IMAGE_SUFFIXES, read_image
from metamixer.data.images.shards import ShardReader
from metamixer.data.segmentation.label_maps import read_classes, read_label_map
from metamixer.data.super_resolution.pairs import read_pixels
from metamixer.errors import naming
from metamixer.training.own_data.images import expect_readable, size_of
from metamixer.training.own_data.pixels import read_mask

from ..kinds import Kind, each_of

ORIENTATION = 0x0112
SIZE = (24, 32)


def make(folder: Path) -> list[Kind]:
    pixels = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    write_plain(folder, Image.fromarray(pixels))
    write_rare(folder, Image.fromarray(pixels))
    names = sorted(path.name for path in folder.iterdir())
    Image.fromarray(pixels[:, :, 0] % 11).save(folder / "labels.png")
    read = each_of(
        lambda path: expect_readable([path]),
        lambda path: size_of(path, whole=True),  # which it calls in a thread
        lambda path: read_colour_image(path),
        lambda path: read_image(path, name=str(path)),
        read_pixels,
        is_lossy,
        upscale,
    )
    read_labels = each_of(
        lambda path: read_mask(path, SIZE[::-1]),
        lambda path: read_label_map(path, read_classes("camvid"), size=SIZE),
    )
    return [*(Kind(name, read) for name in names), Kind("labels.png", read_labels), *archives(folder)]


def upscale(path: Path) -> None:
    """Read and write all that an image file holds."""
    if path.suffix == ".gif":  # which upscale refuses
        return
    picture = read_picture(path)
    picture.preview()
    with naming(path):
        write_picture_file(picture, path.with_name(f"out_{path.name}"))


def write_plain(folder: Path, image: Image.Image) -> None:
    for suffix in ("png", "jpg", "webp", "bmp", "gif"):
        image.save(folder / f"image.{suffix}")
    for name, packing in {"lzw": "tiff_lzw", "raw": "raw", "deflate": "tiff_adobe_deflate", "fax": "group4"}.items():
        (image.convert("1") if name == "fax" else image).save(folder / f"{name}.tif", compression=packing)


def write_rare(folder: Path, image: Image.Image) -> None:
    """16 bits, palettes, alpha, frames, CMYK, EXIF and color profiles."""
    deep = np.asarray(image).astype(np.uint16) * 200
    Image.fromarray(deep[:, :, 0]).save(folder / "deep.png")
    Image.fromarray(deep[:, :, 0]).save(folder / "deep.tif")
    write_deep_png(deep, folder / "deep_colour.png")
    image.quantize(16).save(folder / "palette.png", transparency=3)
    image.convert("RGBA").save(folder / "alpha.png")
    image.convert("RGBA").save(folder / "alpha.webp", lossless=True)
    image.convert("RGBA").save(folder / "alpha.tif")
    image.convert("1").save(folder / "bits.png")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.save(folder / "frames.gif", save_all=True, append_images=[image.rotate(90)])
    image.save(folder / "frames.tif", save_all=True, append_images=[image.rotate(90)])
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for suffix in ("png", "jpg", "webp", "tif"):
        image.save(folder / f"tagged.{suffix}", exif=exif, icc_profile=profile)


def archives(folder: Path) -> list[Kind]:
    """WebDataset shards, with classes and with JSON, and the outputs of a teacher."""
    image = (folder / "image.jpg").read_bytes()
    for name, label, content in (("shard", "cls", b"3"), ("told", "json", b'{"label": 3}')):
        with tarfile.open(folder / f"{name}.tar", "w") as archive:
            for number in range(3):
                for suffix, data in (("jpg", image), (label, content)):
                    member = tarfile.TarInfo(f"{number:03d}.{suffix}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    (folder / ABOUT).write_text(json.dumps({"teacher": "a", "views": 2}))
    np.save(folder / CROPS, np.zeros((2, 4), np.float32))
    np.save(folder / "output_0.npy", np.ones((2, 3), np.float16))
    cached = [
        Kind(name, lambda path, name=name: read_outputs(path, name, folder)) for name in (ABOUT, CROPS, "output_0.npy")
    ]
    return [Kind("shard.tar", read_shard), Kind("told.tar", lambda path: read_shard(path, label="label")), *cached]


def read_shard(path: Path, *, label: str = "") -> None:
    reader = ShardReader([path], suffixes=IMAGE_SUFFIXES, label=label)
    for index in range(len(reader)):
        file, _ = reader[index]
        read_image(file, name=reader.filename(index))


def read_outputs(path: Path, name: str, seeds: Path) -> None:
    """A cache's folder, one of whose files is the one to read."""
    cache = path.with_name(f"{path.stem}_cache")
    cache.mkdir()
    for each in (ABOUT, CROPS, "output_0.npy"):
        (cache / each).write_bytes((path if each == name else seeds / each).read_bytes())
    outputs = OutputCache(cache, {"teacher": "a", "views": 2}, np.zeros((2, 4), np.float32), [3])
    outputs(torch.arange(2), lambda views: [torch.ones(len(views), 3)])
