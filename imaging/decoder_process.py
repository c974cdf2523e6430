"""The decoder process: `python -m imaging.decoder_process SOCKET MAX_PIXELS SECONDS`, started by `decoder_pool`.

Requests come as `decoder_serving` describes, with an image's open file.
"""

from __future__ import annotations

import math
import mmap
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image

from imaging import image_files
from imaging.decoder_serving import Answer, create_memory_file, limit_process, serve, write_memory_file
from imaging.image_info import ImageCheck
from imaging.rejections import LargeImage

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_WARNINGS = 20
# Limit of the address space: a base for Python and its libraries, and bytes for each pixel. Pillow holds four of an
# image, a progressive JPEG's coefficients take six, and the result three.
BASE_BYTES = 640 * 2**20
BYTES_PER_PIXEL = 16
RESULT_BYTES_PER_PIXEL = 8  # RGB and alpha with 16 bits
MAX_METADATA_BYTES = 2**24
MAX_FRAMES_BYTES = 2**26  # of one answer; the next one continues
LARGE_PIXELS = 64_000_000  # only one image of more is decoded at a time


def main() -> None:
    descriptor, max_pixels, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    _set_limits(max_pixels)
    serve(descriptor, seconds, partial(_answer, max_pixels))


def _answer(max_pixels: int, request: dict[str, Any], opened: BinaryIO) -> Answer:
    try:
        return _handle(request, opened, max_pixels)
    except LargeImage:
        return {"large": True}, None


def _handle(  # noqa: PLR0911 - a return for each command
    request: dict[str, Any], opened: BinaryIO, max_pixels: int
) -> Answer:
    """Raises `LargeImage` if the image is large and was not requested as such."""
    limit = None if request["large"] else LARGE_PIXELS
    match request["command"]:
        case "check":
            return _to_json(image_files.check_image(opened, max_pixels=max_pixels, large=limit)), None
        case "count":
            return {"pixels": image_files.count_pixels(opened)}, None
        case "read":
            with _Result() as result:
                pixels = image_files.read_rgb(opened, allocate=result.allocate, large=limit)
                return {"shape": pixels.shape}, result.take(pixels)
        case "picture":
            return _read_picture(opened, deep=request["deep"], keep_color=request["keep_color"], large=limit)
        case "frames":
            return _read_frames(opened, request["start"], max_pixels, limit)
        case "measure":
            from imaging.photo_measures import measure_photo  # noqa: PLC0415 - imports numpy, which few requests need

            return measure_photo(image_files.read_rgb(opened, large=limit)).to_json(), None
        case "thumbnail":
            return {}, write_memory_file(image_files.thumbnail(opened))
    raise ValueError(request["command"])


def _to_json(check: ImageCheck) -> dict[str, Any]:
    return {
        "width": check.size.width,
        "height": check.size.height,
        "opaque": check.opaque,
        "bits": check.bits,
        "frames": check.frames,
        "warnings": [[warning.code, warning.message] for warning in check.warnings[:MAX_WARNINGS]],
    }


def _read_picture(opened: BinaryIO, *, deep: bool, keep_color: bool, large: int | None) -> tuple[dict[str, Any], int]:
    """Answers with the sizes of the parts of a file: RGB, alpha, profile, EXIF, XMP."""
    picture = image_files.read_picture(opened, deep=deep, keep_color=keep_color, large=large)
    metadata = [part if len(part) <= MAX_METADATA_BYTES else b"" for part in picture[2:]]
    memory = create_memory_file()
    with os.fdopen(os.dup(memory), "wb") as file:
        file.write(picture.rgb.data)
        if picture.alpha is not None:
            file.write(picture.alpha.data)
        file.write(b"".join(metadata))
    return {
        "shape": picture.rgb.shape,
        "bytes": picture.rgb.itemsize,
        "alpha": picture.alpha is not None,
        "metadata": [len(part) for part in metadata],
    }, memory


def _read_frames(opened: BinaryIO, start: int, max_pixels: int, large: int | None) -> tuple[dict[str, Any], int]:
    """Answers with the sizes of some frames' PNG files, one behind the other in a file."""
    sizes: list[int] = []
    memory = create_memory_file()
    with os.fdopen(os.dup(memory), "wb") as file:

        def save(png: bytes) -> bool:
            file.write(png)
            sizes.append(len(png))
            return sum(sizes) < MAX_FRAMES_BYTES

        image_files.read_frames(opened, start, save, max_pixels=max_pixels, large=large)
    return {"sizes": sizes}, memory


class _Result:
    """A file in memory that pixels are decoded into, so that they need not be copied. Closed at the end of `with`."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._size = 0

    def allocate(self, shape: tuple[int, ...], kind: str) -> NDArray[Any]:
        """Returns an array. The first one is in the file."""
        import numpy as np  # noqa: PLC0415 - few requests need it

        if self._descriptor is not None:
            return np.empty(shape, kind)
        self._size = math.prod(shape) * np.dtype(kind).itemsize
        self._descriptor = create_memory_file()
        os.ftruncate(self._descriptor, self._size)
        return np.frombuffer(mmap.mmap(self._descriptor, self._size), kind).reshape(shape)

    def take(self, pixels: NDArray[Any]) -> int:
        """Returns the descriptor of a file with exactly these pixels, all or a part of those in this file."""
        import numpy as np  # noqa: PLC0415

        if self._descriptor is not None and pixels.nbytes == self._size:
            return os.dup(self._descriptor)
        return write_memory_file(np.ascontiguousarray(pixels).data)

    def __enter__(self) -> _Result:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def _set_limits(max_pixels: int) -> None:
    limit_process(
        memory=BASE_BYTES + BYTES_PER_PIXEL * max_pixels,
        file_bytes=RESULT_BYTES_PER_PIXEL * max_pixels + MAX_FRAMES_BYTES + 3 * MAX_METADATA_BYTES,
    )
    Image.MAX_IMAGE_PIXELS = max_pixels  # checked before decoding; libwebp would take twice as many


if __name__ == "__main__":
    main()
