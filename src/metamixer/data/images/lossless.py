"""Image files and what to keep when pixels change: bit depth, alpha, orientation, color profile, resolution, format."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ...errors import InputError
from ...system.files import refuse_special, written_whole
from .decoding import decoding, expect_whole
from .deep_png import decode_deep_png, is_deep_color_png, write_deep_png
from .jpeg import file_quality, is_lossy
from .orientation import find_turn

FORMATS = {"PNG": {}, "JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}, "TIFF": {}, "BMP": {}}
"""Supported formats, by Pillow's names, with the options for writing."""

SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
"""The format of a file's name."""

OPAQUE = ("JPEG", "BMP")
"""Formats without transparency."""

LARGEST_SIDE = {"WEBP": 16383, "JPEG": 65500}
"""Maximum side in pixels of a format."""

TAKEN_AS = {"MPO": "JPEG"}
"""Formats that append images to another format's, such as a camera's stereo preview; only the first is used."""

MODES = {"1": "L", "P": "RGBA", "PA": "RGBA", "YCbCr": "RGB"}
"""Conversions of Pillow modes; other modes are kept or refused."""

KEPT = ("exif", "icc_profile", "xmp", "dpi")
"""Metadata to keep, by Pillow's names in `info`."""

LONGEST_XMP = 65_000
"""Bytes; a JPEG has no room for more."""

HIGHEST_DPI = 65_535
"""Pixels per inch; a JPEG can't say more."""

BITS_PER_SAMPLE = 258
"""TIFF tag."""

LAYOUT = frozenset((256, 257, BITS_PER_SAMPLE, 259, 262, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338, 339))
"""TIFF tags that describe how the pixels are stored."""


@dataclass(frozen=True)
class PictureFile:
    """An image file in memory.

    colour: (H, W, 1) gray or (H, W, 3), uint8 or uint16; alpha: (H, W) of the same type or None; format: Pillow's
    name; exif, icc_profile, xmp, dpi: as in the file, so that the EXIF orientation is preserved; quality: of a JPEG
    file; lossless: of a WebP file.
    """

    colour: np.ndarray
    alpha: np.ndarray | None
    format: str
    exif: bytes | None = None
    icc_profile: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    quality: int | None = None
    lossless: bool = False

    @classmethod
    def of(cls, bands: np.ndarray, **about: Any) -> "PictureFile":
        """From (H, W) or (H, W, 1 to 4), where the second or fourth band is alpha."""
        bands = bands.reshape(*bands.shape[:2], -1)
        count = bands.shape[2]
        return cls(bands[:, :, : count - 1 + count % 2], None if count % 2 else bands[:, :, -1], **about)

    def with_pixels(self, colour: np.ndarray, alpha: np.ndarray | None) -> "PictureFile":
        """A copy with other pixels."""
        return replace(self, colour=colour, alpha=alpha)

    def image(self) -> Image.Image:
        """A Pillow image with this metadata; raises InputError for 16-bit color, which Pillow doesn't support."""
        if self.is_deep_colour:
            raise InputError("16-bit color or alpha, expected 8-bit: Pillow doesn't support it")
        bands = [*np.moveaxis(self.colour, 2, 0), *([] if self.alpha is None else [self.alpha])]
        images = [Image.fromarray(band) for band in bands]
        image = images[0] if len(images) == 1 else Image.merge(_mode(len(images)), images)
        image.info.update(self.metadata())
        return image

    def metadata(self) -> dict[str, object]:
        """What the file has of `KEPT`."""
        return {name: getattr(self, name) for name in KEPT if getattr(self, name)}

    def preview(self) -> Image.Image:
        """An upright 8-bit RGB image on a white background."""
        shallow = [(pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels for pixels in self.bands()]
        colour, alpha = shallow[0], shallow[1] if len(shallow) > 1 else None
        image = replace(self, colour=colour, alpha=alpha).image().convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        turn = find_turn(self.exif or b"")
        return image.transpose(turn) if turn is not None else image

    def bands(self) -> list[np.ndarray]:
        """The color and, if any, the alpha."""
        return [self.colour] if self.alpha is None else [self.colour, self.alpha]

    @property
    def is_deep_colour(self) -> bool:
        """Whether the image has 16 bits and more than one band."""
        return self.colour.dtype == np.uint16 and (self.colour.shape[2] > 1 or self.alpha is not None)


def read_picture(path: Path) -> PictureFile:
    """Read an image file; raises InputError if it isn't an image, is truncated or is of an unsupported kind."""
    refuse_special(path)
    with decoding(path), Image.open(path) as image:
        _refuse_unknown(image, path)
        expect_whole(image)
        image.load()  # in a PNG the EXIF data may follow the pixels
        about = {
            "format": TAKEN_AS.get(image.format, image.format),
            "quality": file_quality(image),
            "lossless": image.format == "WEBP" and not is_lossy(path),
            **metadata_of(image),
        }
        bands = decode_deep_png(path) if is_deep_color_png(path) else np.asarray(image.convert(kept_mode(image)))
    return PictureFile.of(bands, **about)


def in_format_of(picture: PictureFile, path: Path) -> PictureFile:
    """The image in the format of a file's name; raises InputError if that format can't represent it."""
    form = SUFFIXES.get(path.suffix.lower(), picture.format)
    if form == picture.format:
        return picture
    if picture.alpha is not None and form in OPAQUE:
        raise InputError(f"{path}: {form} has no transparency, expected a name that ends in .png")
    deep = picture.colour.dtype == np.uint16
    if deep and form != "PNG" and (picture.is_deep_colour or form != "TIFF"):
        raise InputError(f"{path}: an image of 16 bits, expected a name that ends in .png")
    if form == "BMP" and find_turn(picture.exif or b"") is not None:
        raise InputError(f"{path}: BMP has no EXIF orientation, expected a name that ends in .png")
    return replace(picture, format=form, exif=_without_layout(picture.exif) if form == "TIFF" else picture.exif)


def _without_layout(exif: bytes | None) -> bytes | None:
    """EXIF data without the tags of a TIFF file's own layout, which some cameras write too."""
    if exif is None:
        return None
    tags = Image.Exif()
    tags.load(exif)
    for tag in LAYOUT.intersection(tags):
        del tags[tag]
    return tags.tobytes()


def metadata_of(image: Image.Image) -> dict[str, object]:
    """What an opened image has of `KEPT`, without what no file can hold."""
    found = {name: image.info.get(name) for name in KEPT if image.info.get(name)}
    if len(found.get("xmp", b"")) > LONGEST_XMP:
        del found["xmp"]
    if not all(1 <= density <= HIGHEST_DPI for density in found.get("dpi", ())):
        del found["dpi"]
    return found


def quality_of(image: object) -> int | None:
    """The quality of the JPEG file that an image is from; None if it is from another, or unknown."""
    return image.quality if isinstance(image, PictureFile) else file_quality(image)


def check_side(picture: PictureFile, path: Path, *, scale: int) -> None:
    """Raise InputError if the upscaled image would be too large for its format."""
    height, width = (side * scale for side in picture.colour.shape[:2])
    limit = LARGEST_SIDE.get(picture.format, height + width)
    if max(height, width) > limit:
        raise InputError(
            f"{path}: would be {width}x{height} pixels, expected at most {limit} a side, the limit of {picture.format}"
        )


def write_picture_file(picture: PictureFile, path: Path) -> None:
    """Write an image in its own format, atomically; raises InputError that names the file if that fails."""
    with written_whole(path) as part:
        if picture.is_deep_colour:
            write_deep_png(np.dstack(picture.bands()), part, **picture.metadata())
            return
        try:
            picture.image().save(part, format=picture.format, **_options(picture))
        except ValueError as error:
            raise OSError(str(error)) from None


def _options(picture: PictureFile) -> dict[str, object]:
    """Pillow's options for writing an image."""
    options = {**FORMATS[picture.format], **picture.metadata()}
    if picture.format == "WEBP" and picture.lossless:
        options |= {"lossless": True}
    if picture.format == "PNG" and picture.xmp:
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", picture.xmp.decode(errors="replace"))
    return options


def _refuse_unknown(image: Image.Image, path: Path) -> None:
    """Raise InputError for an unsupported format, mode or number of frames."""
    if image.format in TAKEN_AS:
        return
    if image.format not in FORMATS:
        raise InputError(f"{path}: a {image.format} file, expected one of {', '.join(FORMATS)}")
    if getattr(image, "n_frames", 1) > 1:
        raise InputError(f"{path}: {image.n_frames} frames (an animation or several pages), expected one image")
    if image.mode not in (*MODES, "L", "LA", "RGB", "RGBA", "I;16"):
        raise InputError(f"{path}: color mode {image.mode}, expected gray, RGB or a palette: convert it first")
    bits = max(image.tag_v2.get(BITS_PER_SAMPLE, (8,))) if image.format == "TIFF" else 8
    if bits > 8 and image.mode != "I;16":  # Pillow would truncate them to 8
        raise InputError(f"{path}: a TIFF with {bits} bits per channel, expected 8: convert it to a 16-bit PNG first")


def kept_mode(image: Image.Image) -> str:
    """The mode that an image is read in; RGB for a palette without transparency."""
    if image.mode == "P" and "transparency" not in image.info:
        return "RGB"
    if image.mode in ("L", "RGB") and "transparency" in image.info:
        return "LA" if image.mode == "L" else "RGBA"
    return MODES.get(image.mode, image.mode)


def _mode(bands: int) -> str:
    return {2: "LA", 3: "RGB", 4: "RGBA"}[bands]
