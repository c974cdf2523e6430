"""Identifies a file by its first bytes. Its name does not count.

Needs neither Pillow nor numpy. What is no image is rejected with a sentence that names it.
"""

from __future__ import annotations

import struct

from imaging.rejections import ImageRejected, not_an_image
from imaging.video.containers import find_container

HEAD_BYTES = 64  # enough for `identify`
MAX_BRANDS_AT = 16  # offset of the compatible brands in an ISO media file

PNG, JPEG, WEBP, TIFF, BMP, GIF = "PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"
JPEG_2000, HEIF, AVIF, RAW = "JPEG2000", "HEIF", "AVIF", "RAW"

IMAGES = {
    b"\x89PNG\r\n\x1a\n": PNG,
    b"\xff\xd8\xff": JPEG,
    b"II*\0": TIFF,
    b"MM\0*": TIFF,
    b"II+\0": TIFF,
    b"MM\0+": TIFF,
    b"GIF87a": GIF,
    b"GIF89a": GIF,
    b"\0\0\0\x0cjP  \r\n\x87\n": JPEG_2000,
    b"\xff\x4f\xff\x51": JPEG_2000,
    # RAW files that are no TIFF: Fujifilm, Olympus, Panasonic, Sigma, Minolta, Canon.
    b"FUJIFILMCCD-RAW": RAW,
    b"IIRO": RAW,
    b"IIRS": RAW,
    b"MMOR": RAW,
    b"IIU\0": RAW,
    b"FOVb": RAW,
    b"\0MRM": RAW,
    b"II\x1a\0\0\0HEAPCCDR": RAW,
}
TIFF_RAW = {8: (b"CR", b"IIII", b"MMMM")}  # offset of what Canon's and Phase One's TIFFs have there

HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2"}
AVIF_BRANDS = {b"avif", b"avis"}
CANON_RAW_BRAND = b"crx "

_ARCHIVE = "Unpack it, and send the images, or a .zip or .tar of them."
ARCHIVES = {
    b"7z\xbc\xaf\x27\x1c": f"The file is a 7z archive, which is not supported. {_ARCHIVE}",
    b"Rar!\x1a\x07": f"The file is a RAR archive, which is not supported. {_ARCHIVE}",
    b"\x28\xb5\x2f\xfd": f"The file is compressed with Zstandard, which is not supported. {_ARCHIVE}",
    b"\x04\x22\x4d\x18": f"The file is compressed with LZ4, which is not supported. {_ARCHIVE}",
    b"LZIP": f"The file is compressed with lzip, which is not supported. {_ARCHIVE}",
    b"MSCF": f"The file is a cabinet archive, which is not supported. {_ARCHIVE}",
}
_EXPORT = "Export it as PNG and send that."
OTHERS = {
    b"\xff\x0a": f"The file is a JPEG XL image, which is not supported. {_EXPORT}",
    b"\0\0\0\x0cJXL \r\n\x87\n": f"The file is a JPEG XL image, which is not supported. {_EXPORT}",
    b"8BPS": f"The file is a Photoshop document. {_EXPORT}",
    b"gimp xcf": f"The file is a GIMP document. {_EXPORT}",
    b"%PDF-": f"The file is a PDF. {_EXPORT}",
    b"%!PS": f"The file is PostScript. {_EXPORT}",
    b"<svg": f"The file is a drawing (SVG), which has no pixels. {_EXPORT}",
    b"<?xml": f"The file is XML, perhaps a drawing (SVG), which has no pixels. {_EXPORT}",
    b"\x76\x2f\x31\x01": f"The file is an OpenEXR image, which is not supported. {_EXPORT}",
    b"#?RADIANCE": f"The file is a Radiance HDR image, which is not supported. {_EXPORT}",
    b"DDS ": f"The file is a DDS texture, which is not supported. {_EXPORT}",
    b"\0\0\1\0": f"The file is an icon, which is not supported. {_EXPORT}",
    b"\0\0\1\xba": "The file is an MPEG video, not an image. Convert it to MP4 or MKV for the command line.",
}
VIDEO = (
    "The file is a video, not an image. The command line reads videos: `patina train FILE --hr FOLDER` takes frames of "
    "it, `patina sr FILE` enlarges it. Or send its frames as PNG."
)
BMP_HEADER_BYTES = {12, 16, 40, 52, 56, 64, 108, 124}


def identify(head: bytes) -> str:
    """Returns the format of a file with these first 64 bytes. Raises `ImageRejected` if it is not accepted.

    A TIFF may turn out to be a RAW file when its tags are read.
    """
    if not head:
        raise ImageRejected("empty_file", "The file is empty.")
    for magic, name in IMAGES.items():
        if head.startswith(magic):
            return RAW if name == TIFF and _is_raw(head) else name
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WEBP
    if head.startswith(b"BM") and len(head) >= 18 and struct.unpack_from("<I", head, 14)[0] in BMP_HEADER_BYTES:
        return BMP
    if head[4:8] == b"ftyp":
        return _identify_iso_media(head)
    for magic, message in ARCHIVES.items():
        if head.startswith(magic):
            raise ImageRejected("unsupported_archive", message)
    for magic, message in OTHERS.items():
        if head.startswith(magic):
            raise not_an_image(message)
    if find_container(head):
        raise not_an_image(VIDEO)
    raise not_an_image()


def _is_raw(head: bytes) -> bool:
    return any(head.startswith(magics, offset) for offset, magics in TIFF_RAW.items())


def _identify_iso_media(head: bytes) -> str:
    size = max(MAX_BRANDS_AT, min(int.from_bytes(head[:4]), len(head)))
    brands = [head[8:12], *(head[at : at + 4] for at in range(MAX_BRANDS_AT, size, 4))]
    if CANON_RAW_BRAND in brands:
        return RAW
    # Files of both kinds name mif1, too.
    if AVIF_BRANDS.intersection(brands):
        return AVIF
    if HEIF_BRANDS.intersection(brands):
        return HEIF
    raise not_an_image(VIDEO)
