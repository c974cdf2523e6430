"""Archives that are made while they are sent: nothing is built first, nothing is held whole."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial

from stream_zip import ZIP_64, Method, stream_zip

from app.jobs.manifest import Manifest
from app.jobs.schemas import ArchiveFormat
from store.blobs import Blobs

MANIFEST = "manifest.jsonl"
READABLE = 0o644
# Fixed, so that the same job gives the same bytes; 1980 is the earliest that a zip can say.
DATE = datetime(1980, 1, 1)

MEDIA_TYPES = {ArchiveFormat.zip: "application/zip", ArchiveFormat.tar: "application/x-tar"}


def archive(manifest: Manifest, blobs: Blobs, form: ArchiveFormat) -> Iterator[bytes]:
    """The bytes of the archive: every file, then the manifest."""
    return _zip(manifest, blobs) if form is ArchiveFormat.zip else _tar(manifest, blobs)


def _zip(manifest: Manifest, blobs: Blobs) -> Iterator[bytes]:
    def members() -> Iterator[tuple[str, datetime, int, Method, Iterator[bytes]]]:
        for name, sha256 in manifest.files():
            yield name, DATE, READABLE, ZIP_64, blobs.chunks(sha256)
        yield MANIFEST, DATE, READABLE, ZIP_64, manifest.lines()

    # Level 0: PNG is compressed and noise cannot be, so deflating would only cost time.
    return iter(stream_zip(members(), get_compressobj=lambda: zlib.compressobj(level=0, wbits=-zlib.MAX_WBITS)))


def _tar(manifest: Manifest, blobs: Blobs) -> Iterator[bytes]:
    for name, sha256 in manifest.files():
        yield from _tar_member(name, blobs.size(sha256), partial(blobs.chunks, sha256))
    # A tar tells each member's size before its bytes; the lines are counted in a pass of their own, not held.
    yield from _tar_member(MANIFEST, sum(map(len, manifest.lines())), manifest.lines)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _tar_member(name: str, size: int, content: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
    head = tarfile.TarInfo(name)
    head.size, head.mode = size, READABLE
    yield head.tobuf(tarfile.PAX_FORMAT)
    yield from content()
    yield bytes(-size % tarfile.BLOCKSIZE)
