"""Decides by its sender's options what becomes of an image that is not plain: deep, transparent, or of many frames."""

from __future__ import annotations

from app.ingest.options import Depth, Frames, ReadOptions, Transparency
from imaging.image_info import ImageCheck, ImageSize, Rectangle
from imaging.rejections import ImageRejected, ImageWarning, mostly_transparent

PLAIN_BITS = 8


def decide(check: ImageCheck, options: ReadOptions, transparency: Transparency) -> tuple[ImageSize, list[ImageWarning]]:
    """Returns the size that is used of an image, and what its sender should know. Raises `ImageRejected`."""
    remarks = list(check.warnings)
    if check.bits > PLAIN_BITS:
        remarks += _decide_depth(check.bits, options.depth)
    if check.frames > 1:
        remarks.append(_describe_frames(check.frames, options.frames))
    size = check.size
    if transparency is Transparency.crop:
        size = crop_to_opaque(check.size, check.opaque)
        if size != check.size:
            remarks.append(
                ImageWarning(
                    "transparency_cropped",
                    f"Parts of the image are transparent. Its opaque part is used: {size.width}×{size.height} pixels.",
                )
            )
    return size, remarks


def crop_to_opaque(size: ImageSize, opaque: Rectangle | None) -> ImageSize:
    """Returns the size of the opaque rectangle of an image. Raises `ImageRejected` if it has none."""
    if opaque is None:
        raise mostly_transparent()
    _, _, height, width = opaque
    return ImageSize(width, height)


def _decide_depth(bits: int, depth: Depth) -> list[ImageWarning]:
    if depth is Depth.refuse:
        raise ImageRejected(
            "more_than_8_bits",
            f"The image has {bits} bits per channel. Send depth=scale to have its full range mapped to 8 bits, or "
            "convert it first.",
        )
    if depth is Depth.keep:
        return []
    what = "0 to 1" if bits > 16 else f"0 to {2**bits - 1}"
    return [ImageWarning("scaled_to_8_bits", f"The image has {bits} bits per channel; {what} became 0 to 255.")]


def _describe_frames(count: int, frames: Frames) -> ImageWarning:
    if frames is Frames.all:
        return ImageWarning("all_frames", f"The file has {count} frames or pages. Each is an image.")
    return ImageWarning(
        "first_frame_only", f"The file has {count} frames or pages; the first is used. Send frames=all for all of them."
    )
