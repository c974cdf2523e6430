"""Unpacks .zip and .tar archives that strangers made, one member at a time."""

from __future__ import annotations

import hashlib
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from app.schemas import RejectedFile
from app.uploads.multipart import ReceivedFile
from config.settings import Settings

CHUNK = 2**20
ZIP_START = b"PK\3\4"  # also of one that is cut off, which the zip reader would not know for one
IMAGE_STARTS = (b"\x89PNG", b"\xff\xd8", b"RIFF", b"II*\0", b"MM\0*", b"BM")
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, RuntimeError)
# What operating systems leave in archives without being asked; no user means to send it.
JUNK_FOLDERS, JUNK_NAMES = {"__MACOSX"}, {".DS_Store", "Thumbs.db", "desktop.ini"}


class ArchiveRefusedError(ValueError):
    """An archive that is refused whole."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class _Member:
    name: str
    is_file: bool
    entry: zipfile.ZipInfo | tarfile.TarInfo


def is_archive(file: ReceivedFile) -> bool:
    """By its content; for an empty .tar, which has none, by its name."""
    with file.path.open("rb") as opened:
        head = opened.read(512)
    if head.startswith(IMAGE_STARTS):  # an image with an archive hidden behind its end is an image
        return False
    if _is_zip(file):
        return True
    return (any(head) or file.name.lower().endswith(TAR_SUFFIXES)) and tarfile.is_tarfile(file.path)


def unpack(archive: ReceivedFile, folder: Path, settings: Settings) -> Iterator[ReceivedFile | RejectedFile]:
    """Each member as a file in `folder`; it may be moved away, and is gone when the next is asked for.

    Raises `ArchiveRefusedError` before the first member for an archive that is damaged, empty, encrypted, too large, or
    names a path outside of itself.
    """
    try:
        with _opened(archive) as opened:
            members = _checked_members(opened, settings)
            unpacked = 0
            for number, member in enumerate(members):
                shown = f"{archive.name}/{member.name}"
                if not member.is_file:
                    yield RejectedFile(name=shown, code="not_a_file", message="Links and devices are not taken.")
                    continue
                path = folder / f"member-{number}"
                try:
                    sha256, size = _extract(opened, member, path, settings.max_file_bytes)
                except BROKEN as error:
                    message = f"This member of the archive cannot be unpacked ({error}). Pack it again."
                    yield RejectedFile(name=shown, code="corrupt_archive", message=message)
                    continue
                unpacked += size
                if unpacked > settings.max_archive_bytes:
                    raise ArchiveRefusedError(
                        "archive_too_large",
                        f"The archive unpacks to more than {settings.max_archive_bytes:,} bytes. Send it in parts, or "
                        "raise PATINA_MAX_ARCHIVE_BYTES.",
                    )
                if size > settings.max_file_bytes:
                    yield RejectedFile(name=shown, code="file_too_large", message=too_large(settings.max_file_bytes))
                else:
                    yield ReceivedFile(shown, path, sha256)
                path.unlink(missing_ok=True)
    except BROKEN as error:
        if isinstance(error, ArchiveRefusedError):
            raise
        raise ArchiveRefusedError(
            "corrupt_archive", f"The archive is damaged or cut off ({error}); send it again."
        ) from error


def too_large(limit: int) -> str:
    return f"The file has more than {limit:,} bytes; raise PATINA_MAX_FILE_BYTES to allow it."


def _is_zip(file: ReceivedFile) -> bool:
    with file.path.open("rb") as opened:
        return opened.read(len(ZIP_START)) == ZIP_START or zipfile.is_zipfile(file.path)


@contextmanager
def _opened(archive: ReceivedFile) -> Iterator[zipfile.ZipFile | tarfile.TarFile]:
    if _is_zip(archive):
        with zipfile.ZipFile(archive.path) as zipped:
            yield zipped
    else:
        with tarfile.open(archive.path) as tarred:
            yield tarred


def _checked_members(opened: zipfile.ZipFile | tarfile.TarFile, settings: Settings) -> list[_Member]:
    members: list[_Member] = []
    entries = opened.infolist() if isinstance(opened, zipfile.ZipFile) else opened
    for entry in entries:
        if isinstance(entry, zipfile.ZipInfo):
            if entry.flag_bits & 1:
                raise ArchiveRefusedError(
                    "encrypted_archive", "The archive is encrypted; pack it again without a password."
                )
            name, is_folder, is_file = entry.filename, entry.is_dir(), (entry.external_attr >> 28) != 0o12
        else:
            name, is_folder, is_file = entry.name, entry.isdir(), entry.isfile()
        if _leaves_the_archive(name):
            raise ArchiveRefusedError(
                "unsafe_path",
                f"The archive names the path {name!r}, which lies outside of it, and is refused whole. Pack it again "
                "from inside its folder.",
            )
        if not is_folder and not _is_junk(name):
            members.append(_Member(name, is_file, entry))
        if len(members) > settings.max_archive_members:
            raise ArchiveRefusedError(
                "too_many_members",
                f"The archive has more than {settings.max_archive_members:,} members. Send it in parts, or raise "
                "PATINA_MAX_ARCHIVE_MEMBERS.",
            )
    if not members:
        raise ArchiveRefusedError("empty_archive", "The archive holds no files.")
    return members


def _leaves_the_archive(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or (len(name) > 1 and name[1] == ":")


def _is_junk(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(JUNK_FOLDERS.intersection(path.parts)) or path.name in JUNK_NAMES or path.name.startswith("._")


def _extract(opened: zipfile.ZipFile | tarfile.TarFile, member: _Member, path: Path, max_bytes: int) -> tuple[str, int]:
    """The SHA-256 and size of the member's bytes, counted as they come; it ends a chunk after `max_bytes`."""
    source: IO[bytes] | None
    if isinstance(opened, zipfile.ZipFile):
        assert isinstance(member.entry, zipfile.ZipInfo)
        source = opened.open(member.entry)
    else:
        assert isinstance(member.entry, tarfile.TarInfo)
        source = opened.extractfile(member.entry)
    assert source is not None
    hashed, size = hashlib.sha256(), 0
    with source, path.open("wb") as target:
        while size <= max_bytes and (chunk := source.read(CHUNK)):
            hashed.update(chunk)
            target.write(chunk)
            size += len(chunk)
    return hashed.hexdigest(), size
