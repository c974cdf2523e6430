"""Why an image is rejected, and what is remarkable about one that is not."""

from __future__ import annotations

from dataclasses import dataclass

FORMAT_NAMES = "PNG, JPEG, WebP, TIFF, BMP, GIF, HEIC, AVIF or JPEG 2000"


class ImageRejected(ValueError):
    """The image is not accepted. `code` is stable; the message says what is wrong and what to do."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


class LargeImage(Exception):
    """By its header the image has more pixels than the caller wants to decode without a plan for the memory."""


@dataclass(frozen=True)
class ImageWarning:
    """Something about an accepted image that its sender should know. `code` is stable."""

    code: str
    message: str


def image_too_large(max_pixels: int) -> ImageRejected:
    return ImageRejected(
        "image_too_large",
        f"The image has more than {max_pixels:,} pixels. Cut it into parts, or raise PATINA_MAX_IMAGE_PIXELS.",
    )


def not_an_image(what: str = f"The file is not a {FORMAT_NAMES} image. Convert it to one.") -> ImageRejected:
    return ImageRejected("not_an_image", what)


def corrupt_image(error: Exception | str) -> ImageRejected:
    return ImageRejected("corrupt_image", f"The image is damaged or cut off ({error}). Send it again or leave it out.")


def undecodable_image(reason: str) -> ImageRejected:
    return ImageRejected(
        "undecodable_image", f"The {reason} and would take long to decode. Open it, save it again and send that."
    )


def raw_file() -> ImageRejected:
    return ImageRejected(
        "raw_file",
        "The file is a RAW file of a camera; develop it first, and send the result as PNG, TIFF or JPEG. Or install "
        "Patina with `pip install 'patina[raw]'`, which develops it.",
    )


def missing_decoder(format_name: str, package: str) -> ImageRejected:
    return ImageRejected(
        "decoder_missing",
        f"The image is {format_name}, whose decoder is not installed on the service. Install it with `pip install "
        f"{package}`, or convert the image to PNG.",
    )


def mostly_transparent() -> ImageRejected:
    return ImageRejected(
        "mostly_transparent",
        "Less than a quarter of the image is a rectangle without transparency. Crop it to a part that is opaque, or "
        "leave it out.",
    )
