"""The parts of a tar: headers without times and owners, so that the same files give the same bytes."""

from __future__ import annotations

import tarfile

MODE = 0o644
END = bytes(2 * tarfile.BLOCKSIZE)  # after the last member


def tar_header(name: str, size: int) -> bytes:
    """Returns what comes before the bytes of a member."""
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, MODE
    return header.tobuf(tarfile.PAX_FORMAT)


def tar_padding(size: int) -> bytes:
    """Returns what comes after the bytes of a member."""
    return bytes(-size % tarfile.BLOCKSIZE)
