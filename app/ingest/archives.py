"""Unpacks .zip and .tar archives that strangers made, one member at a time."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from app.http.body_limit import storage_full
from app.http.problems import ProblemError
from app.http.schemas import RejectedFile
from app.ingest.archive_readers import (
    HEAD,
    CorruptArchiveError,
    Member,
    Opener,
    Reader,
    TooManyMembersError,
    find_opener,
)
from app.ingest.files import ReceivedFile, display_name, too_large, too_many_files
from config.settings import Settings
from imaging.image_files import ImageRefusedError, require_known_start
from store.files.capacity import Room

CHUNK = 2**20
# What operating systems leave in archives without being asked; no user means to send it.
JUNK_FOLDERS, JUNK_NAMES = {"__MACOSX"}, {".DS_Store", "Thumbs.db", "desktop.ini"}


class ArchiveRejectedError(ValueError):
    """An archive that is refused whole."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass
class Allowance:
    """What the archives of one request may still unpack to."""

    files: int
    bytes: int
    room: Room
    claimed: int = 0  # of that room, to be released when all is stored


def detect_archive(file: ReceivedFile) -> Opener | None:
    """What opens an archive, known by its content; None for another file."""
    with file.path.open("rb") as opened:
        return find_opener(opened.read(HEAD), file.name)


def unpack(
    archive: ReceivedFile, opener: Opener, folder: Path, settings: Settings, allowance: Allowance
) -> Iterator[ReceivedFile | RejectedFile]:
    """Each member as a file in `folder`, or why it is refused; one that begins like no image is not unpacked.

    Raises `ArchiveRejectedError` before the first member for an archive that is damaged, empty, encrypted, too large, or
    names a path outside of itself, and `ProblemError` for more files
    than a request may have, and for want of room.
    """
    with ExitStack() as stack:
        with _refused_whole_if_damaged(settings):
            reader = opener(archive.path, settings.max_archive_members, stack)
            members = _checked_members(reader, settings, allowance)
        for number, member in enumerate(members):
            shown = display_name(f"{archive.name}/{member.name}")
            path = folder / f"{archive.path.name}-{number}"
            try:
                sha256 = _unpack_member(reader, member, path, settings.max_file_bytes)
            except ImageRefusedError as error:
                yield RejectedFile(name=shown, code=error.code, message=error.message)
            else:
                yield ReceivedFile(shown, path, sha256)


def _checked_members(reader: Reader, settings: Settings, allowance: Allowance) -> list[Member]:
    members: list[Member] = []
    size, left = 0, allowance.room.left()
    for number, member in enumerate(reader.members(), start=1):
        if number > settings.max_archive_members:
            raise TooManyMembersError
        if member.encrypted:
            raise ArchiveRejectedError(
                "encrypted_archive", "The archive is encrypted; pack it again without a password."
            )
        if _leaves_the_archive(member.name):
            raise ArchiveRejectedError(
                "unsafe_path",
                f"The archive names the path {member.name[:200]!r}, which lies outside of it, and is refused whole. "
                "Pack it again from inside its folder.",
            )
        size += member.size
        if size > allowance.bytes:
            raise ArchiveRejectedError(
                "archive_too_large",
                f"The request's archives unpack to more than {settings.max_archive_bytes:,} bytes. Send them in parts, "
                "or raise PATINA_MAX_ARCHIVE_BYTES.",
            )
        if size > left:
            raise storage_full()
        if not member.is_folder and not _is_junk(member.name):
            members.append(member)
            if len(members) > allowance.files:
                raise too_many_files(settings.max_files)
    if not members:
        raise ArchiveRejectedError("empty_archive", "The archive holds no files.")
    if not allowance.room.claim(size):
        raise storage_full()
    allowance.claimed += size
    allowance.files -= len(members)
    allowance.bytes -= size
    return members


@contextmanager
def _refused_whole_if_damaged(settings: Settings) -> Iterator[None]:
    try:
        yield
    except (ArchiveRejectedError, ProblemError):
        raise
    except TooManyMembersError as error:
        raise ArchiveRejectedError(
            "too_many_members",
            f"The archive has more than {settings.max_archive_members:,} members. Send it in parts, or raise "
            "PATINA_MAX_ARCHIVE_MEMBERS.",
        ) from error
    except Exception as error:
        if _is_of_the_system(error):
            raise
        message = f"The archive is damaged or cut off ({error}); send it again."
        raise ArchiveRejectedError("corrupt_archive", message) from error


def _unpack_member(reader: Reader, member: Member, path: Path, max_bytes: int) -> str:
    """Writes a member to `path`; gives its SHA-256. Raises `ImageRefusedError`, and then leaves nothing there."""
    if not member.is_file:
        raise ImageRefusedError("not_a_file", "Links, devices and files with holes are not taken.")
    if member.size > max_bytes:
        raise ImageRefusedError("file_too_large", too_large(max_bytes))
    try:
        return _write_member(reader, member, path)
    except Exception as error:
        path.unlink(missing_ok=True)
        if isinstance(error, ImageRefusedError) or _is_of_the_system(error):
            raise
        message = f"This member of the archive cannot be unpacked ({error}). Pack it again."
        raise ImageRefusedError("corrupt_archive", message) from error


def _write_member(reader: Reader, member: Member, path: Path) -> str:
    hashed, left = hashlib.sha256(), member.size
    with reader.open(member) as source:
        piece = source.read(HEAD)
        if find_opener(piece, member.name):
            message = "An archive inside an archive is not opened. Pack the images themselves."
            raise ImageRefusedError("nested_archive", message)
        require_known_start(piece)
        with path.open("wb") as target:
            while piece and left >= 0:
                left -= len(piece)
                hashed.update(piece)
                target.write(piece)
                piece = source.read(CHUNK)
    if left:
        raise CorruptArchiveError("its size is not what the archive says")
    return hashed.hexdigest()


def _is_of_the_system(error: Exception) -> bool:
    """A full disk, say; readers raise whatever they like on damaged bytes, OSError too."""
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


def _leaves_the_archive(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or (len(name) > 1 and name[1] == ":")


def _is_junk(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(JUNK_FOLDERS.intersection(path.parts)) or path.name in JUNK_NAMES or path.name.startswith("._")
