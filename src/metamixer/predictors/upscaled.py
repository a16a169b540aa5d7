"""The result of an upscaler: the enlarged image, of the same type as the input."""

from .image_results import ImageArray, ImageResult, ImageTensor, PillowImage


class Upscaled(ImageResult):
    """An enlarged image; scale: the factor."""

    def line(self) -> str:
        width, height = self.image.size
        return f"{width}x{height}, {self.scale} times larger"


class UpscaledArray(Upscaled, ImageArray):
    """An enlarged array."""


class UpscaledTensor(Upscaled, ImageTensor):
    """An enlarged tensor."""


class UpscaledImage(Upscaled, PillowImage):
    """An enlarged Pillow image."""
