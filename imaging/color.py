"""Converts colors to sRGB with LittleCMS: relative colorimetric, with black point compensation, as browsers do.

Without a profile, RGB and gray are sRGB, and CMYK is converted as simple viewers do. A profile that changes no color
by more than one level is sRGB by another name, and pixels stay as they are.
"""

from __future__ import annotations

import io
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageCms

from imaging.rejections import ImageWarning

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RGB, GRAY, CMYK, LAB = "RGB", "L", "CMYK", "LAB"  # as Pillow names them
PROFILE_SPACES = {"RGB ": RGB, "GRAY": GRAY, "CMYK": CMYK, "Lab ": LAB}
INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
MAX_PROFILE_BYTES = 16 * 2**20
CREATED_AT = 24  # offset of the date in a profile's header
PROBE_STEPS = 17  # along each axis of the RGB cube

# Code points of ITU-T H.273, in HEIF and AVIF files without a profile. Primaries: red, green, blue as CIE (x, y).
BT_709, UNSPECIFIED, BT_2020, DISPLAY_P3 = 1, 2, 9, 12
PRIMARIES = {
    BT_2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    DISPLAY_P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
PQ, HLG = 16, 18
D65, D50 = (0.3127, 0.3290), (0.9642, 1.0, 0.8249)  # (x, y) and XYZ
BRADFORD = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
LAB_TO_XYZ_KNEE = 6 / 29


class ColorConverter:
    """Converts rows of one image to RGB. `warnings` says what could not be respected."""

    def __init__(self, space: str, profile: bytes, *, keep: bool = False):
        """`keep` leaves an RGB image in its profile, named by `kept`."""
        self.space = space
        self.warnings: list[ImageWarning] = []
        self.kept = b""
        self._transform: ImageCms.ImageCmsTransform | None = None
        self._profile = b""
        if profile:
            try:
                if space == GRAY and _profile_space(profile) == RGB:
                    self.space = space = RGB
                transform = _build_transform(profile, space)
            except BadProfile as error:
                self.warnings.append(ImageWarning("color_profile_ignored", f"{error} Its colors are read as sRGB."))
                return
            if keep and space == RGB and transform is not None:
                self.kept = profile
            else:
                self._transform, self._profile = transform, profile

    def to_rgb(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Returns rows (n, w, 3) in sRGB of rows (n, w, channels), uint8 or uint16, in their type.

        Of 16 bits per channel all are kept, except where a profile has tables: they are applied to the upper 8.
        """
        import numpy as np  # noqa: PLC0415 - the API seldom needs it and starts faster without it

        if self.space == LAB:
            return _lab_to_rgb(samples)
        if self.space == RGB:
            samples = np.broadcast_to(samples, (*samples.shape[:2], 3))  # a gray image with a profile of RGB
        if self._transform is None:
            if self.space == CMYK:
                deep = samples.dtype == np.uint16
                rgb = np.asarray(Image.fromarray(round_to_8_bits(samples), CMYK).convert(RGB))
                return rgb * np.uint16(257) if deep else rgb
            return np.broadcast_to(samples, (*samples.shape[:2], 3))
        if samples.dtype == np.uint16 and self._profile:
            from imaging.icc_matrix import parse_matrix_profile  # noqa: PLC0415 - imports numpy

            if matrix := parse_matrix_profile(self._profile):
                return matrix.to_srgb(samples)
        rgb = self._apply(self._transform, round_to_8_bits(samples))
        return rgb * np.uint16(257) if samples.dtype == np.uint16 else rgb

    def _apply(self, transform: ImageCms.ImageCmsTransform, samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
        import numpy as np  # noqa: PLC0415

        image = Image.fromarray(samples[..., 0] if self.space == GRAY else samples, self.space)
        return np.asarray(transform.apply(image))


class BadProfile(ValueError):
    """The color profile is damaged, or for another kind of image."""


def make_profile(primaries: int) -> bytes:
    """Returns an ICC profile with these primaries of ITU-T H.273 and the curve of sRGB; empty for sRGB itself."""
    if primaries not in PRIMARIES:
        return b""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    struct.pack_into(">6H", data, CREATED_AT, 2000, 1, 1, 0, 0, 0)  # the same bytes each time
    (count,) = struct.unpack_from(">I", data, 128)
    for number in range(count):
        tag, offset, _ = struct.unpack_from(">4sII", data, 132 + 12 * number)
        if tag in (names := (b"rXYZ", b"gXYZ", b"bXYZ")):
            column = _primaries_to_xyz(primaries)[:, names.index(tag)]
            struct.pack_into(">3i", data, offset + 8, *(round(value * 65536) for value in column))
    return bytes(data)


def _primaries_to_xyz(primaries: int) -> NDArray[np.float64]:
    """Returns the matrix (3, 3) from linear RGB to XYZ, adapted from D65 to D50 by Bradford's method."""
    import numpy as np  # noqa: PLC0415

    def to_xyz(x: float, y: float) -> tuple[float, float, float]:
        return x / y, 1.0, (1 - x - y) / y

    columns = np.array([to_xyz(*point) for point in PRIMARIES[primaries]]).T
    white = np.array(to_xyz(*D65))
    columns = columns * np.linalg.solve(columns, white)
    bradford = np.array(BRADFORD)
    gain = (bradford @ np.array(D50)) / (bradford @ white)
    return np.asarray(np.linalg.solve(bradford, gain[:, None] * bradford) @ columns)


def _profile_space(profile: bytes) -> str | None:
    """Returns the color space that the header of a profile names (ICC.1, 7.2)."""
    return PROFILE_SPACES.get(profile[16:20].decode("latin-1"))


@lru_cache(maxsize=8)
def _build_transform(profile: bytes, space: str) -> ImageCms.ImageCmsTransform | None:
    """Returns the transform to sRGB, None if it would change nothing. Raises `BadProfile`."""
    import numpy as np  # noqa: PLC0415

    if len(profile) > MAX_PROFILE_BYTES:
        raise BadProfile("The color profile of the image is too large.")
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _profile_space(profile) != space:
            raise BadProfile("The color profile of the image is for another kind of image.")
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(opened, target, space, RGB, INTENT, FLAGS)
        if space not in (RGB, GRAY):
            return transform
        if space == GRAY:
            probe = np.arange(256, dtype=np.uint8)[None]
            expected = np.repeat(probe[..., None], 3, -1)
        else:
            axis = np.linspace(0, 255, PROBE_STEPS).round().astype(np.uint8)
            probe = expected = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(1, -1, 3)
        result = np.asarray(transform.apply(Image.fromarray(probe, space)))
        return transform if np.abs(result.astype(int) - expected).max() > 1 else None
    except (OSError, ImageCms.PyCMSError, ValueError) as error:
        if isinstance(error, BadProfile):
            raise
        raise BadProfile("The color profile of the image is damaged.") from error


def round_to_8_bits(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns 16-bit samples divided by 257 and rounded."""
    import numpy as np  # noqa: PLC0415

    if samples.dtype == np.uint8:
        return np.ascontiguousarray(samples, np.uint8)
    # (v + 128) // 257 rounds v / 257; the sum needs more than 16 bits.
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _lab_to_rgb(samples: NDArray[Any]) -> NDArray[Any]:
    """Converts CIELAB with the white point D50, as TIFF and ICC define it, in floating point.

    L is 0..255 or 0..65535 for 0..100; a and b are offset by half of the range, in steps of 1 or 1/256.
    """
    import numpy as np  # noqa: PLC0415

    from imaging.icc_matrix import XYZ_TO_SRGB, encode_srgb  # noqa: PLC0415 - imports numpy

    full, step, zero = (255, 1.0, 128) if samples.dtype == np.uint8 else (65535, 256.0, 32768)
    lightness = samples[..., 0].astype(np.float32) * np.float32(100 / full)
    a, b = ((samples[..., band].astype(np.float32) - zero) / np.float32(step) for band in (1, 2))
    y = (lightness + 16) / 116
    cube = np.stack([y + a / 500, y, y - b / 200], -1)
    knee = LAB_TO_XYZ_KNEE
    xyz = np.where(cube > knee, cube**3, 3 * knee**2 * (cube - 4 / 29)) * np.array(D50, np.float32)
    rgb = encode_srgb(xyz @ XYZ_TO_SRGB.T.astype(np.float32))
    return round_to_8_bits(rgb) if samples.dtype == np.uint8 else rgb
