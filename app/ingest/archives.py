"""Extracts untrusted .zip and .tar archives, one member at a time."""

from __future__ import annotations

import errno
import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from app.http.body_limit import storage_full
from app.http.problems import ProblemError
from app.http.schemas import RejectedFile
from app.ingest.archive_readers import (
    HEAD_BYTES,
    ArchiveReader,
    CorruptArchiveError,
    Member,
    MisleadingArchiveError,
    Opener,
    TooManyMembersError,
    find_opener,
)
from app.ingest.files import ReceivedFile, display_name, file_too_large_message, too_many_files
from config.settings import Settings
from imaging.rejections import ImageRejected
from imaging.signatures import identify
from store.files.quota import StorageQuota

CHUNK_BYTES = 2**20
DRIVE = re.compile(r"[A-Za-z]:[/\\]")  # an absolute path of Windows; a colon may be part of a name elsewhere
# Operating systems add these files to archives without asking; no user means to send them.
JUNK_FOLDERS, JUNK_NAMES = {"__MACOSX"}, {".DS_Store", "Thumbs.db", "desktop.ini"}


class ArchiveRejectedError(ValueError):
    """The whole archive is rejected."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass
class ExtractionBudget:
    """How many files and bytes the archives and animations of one request may still extract to. Thread-safe."""

    files: int
    bytes: int
    quota: StorageQuota
    reserved: int = 0  # bytes of the quota, to be released when all files are stored
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, settings: Settings, *, files: int, size: int) -> None:
        """Takes files and reserves their bytes.

        Raises `ArchiveRejectedError` for too many bytes. Raises `ProblemError` for more files than a request may have,
        and if the storage is full.
        """
        with self.lock:
            if size > self.bytes:
                raise archive_too_large(settings)
            if files > self.files:
                raise too_many_files(settings.max_files)
            if not self.quota.reserve(size):
                raise storage_full(self.quota)
            self.reserved += size
            self.files -= files
            self.bytes -= size


def detect_archive(file: ReceivedFile) -> Opener | None:
    """Returns what opens an archive, by its content; None for another file."""
    with file.path.open("rb") as opened:
        return find_opener(opened.read(HEAD_BYTES), file.name)


def extract(
    archive: ReceivedFile, opener: Opener, folder: Path, settings: Settings, budget: ExtractionBudget
) -> Iterator[ReceivedFile | RejectedFile]:
    """Yields each member as a file in `folder`, or its rejection; a member without an image's magic is not extracted.

    The last one is the rejection of what follows a damaged place. Raises `ArchiveRejectedError` before the first member
    if the archive is corrupt from its start, empty, encrypted, too large, or has a path outside of itself. Raises
    `ProblemError` for more files than a request may have, and if the storage is full.
    """
    with ExitStack() as stack:
        with _reject_if_corrupt(settings):
            reader = opener(archive.path, settings.max_archive_members, stack)
            members, damage = _check_members(reader, settings, budget)
        for number, member in enumerate(members):
            name = display_name(f"{archive.name}/{member.name}")
            path = folder / f"{archive.path.name}-{number}"
            try:
                sha256 = _extract_member(reader, member, path, settings.max_file_bytes)
            except ImageRejected as error:
                yield RejectedFile(name=name, code=error.code, message=error.message)
            else:
                yield ReceivedFile(name, path, sha256)
        if damage:
            yield RejectedFile(name=archive.name, code="corrupt_archive", message=damage)


def _check_members(
    reader: ArchiveReader, settings: Settings, budget: ExtractionBudget
) -> tuple[list[Member], str | None]:
    """Returns the members to extract, and what is wrong with the archive behind them. Reserves their size."""
    members: list[Member] = []
    damages: list[str] = []
    size, available = 0, budget.quota.available()
    for number, member in enumerate(_list_members(reader, damages), start=1):
        if number > settings.max_archive_members:
            raise TooManyMembersError
        if _is_outside(member.name):
            raise ArchiveRejectedError(
                "unsafe_path",
                f"The archive was rejected: the path {member.name[:200]!r} is outside of it. Create it again from "
                "inside its folder.",
            )
        if not (reader.random_access and member.size > settings.max_file_bytes):  # else it will not be extracted
            size += member.size
        if size > budget.bytes:
            raise archive_too_large(settings)
        if size > available:
            raise storage_full(budget.quota)
        if not member.is_folder and not _is_junk(member.name):
            members.append(member)
            if len(members) > budget.files:
                raise too_many_files(settings.max_files)
    if not members:
        raise ArchiveRejectedError("empty_archive", "The archive has no files.")
    if all(member.encrypted for member in members):
        raise ArchiveRejectedError("encrypted_archive", "The archive is encrypted. Create it again without a password.")
    budget.take(settings, files=len(members), size=size)
    return members, damages[0] if damages else None


def _list_members(reader: ArchiveReader, damages: list[str]) -> Iterator[Member]:
    """Yields the members before the first damaged place, and adds to `damages` what is wrong there.

    Raises if no member comes before it, and for what no damage does.
    """
    number = 0
    try:
        for member in reader.members():
            number += 1
            yield member
    except Exception as error:
        if not number or isinstance(error, MisleadingArchiveError) or _is_os_error(error):
            raise
        damages.append(
            f"The archive is damaged or cut off ({error}). Its first {number:,} members were taken. Send it again for "
            "the others."
        )


def archive_too_large(settings: Settings) -> ArchiveRejectedError:
    return ArchiveRejectedError(
        "archive_too_large",
        f"The request's archives and animations extract to more than {settings.max_archive_bytes:,} bytes. Send them "
        "in parts, or raise PATINA_MAX_ARCHIVE_BYTES.",
    )


@contextmanager
def _reject_if_corrupt(settings: Settings) -> Iterator[None]:
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
        if _is_os_error(error):
            raise
        message = f"The archive is corrupt or truncated ({error}). Send it again."
        raise ArchiveRejectedError("corrupt_archive", message) from error


def _extract_member(reader: ArchiveReader, member: Member, path: Path, max_bytes: int) -> str:
    """Writes a member to `path` and returns its SHA-256. Raises `ImageRejected` and leaves no file then."""
    if member.encrypted:
        raise ImageRejected(
            "encrypted_archive", "This member of the archive is encrypted. Create the archive again without a password."
        )
    if not member.is_file:
        raise ImageRejected("not_a_file", "Links, devices and sparse files are not accepted.")
    if member.size > max_bytes:
        raise ImageRejected("file_too_large", file_too_large_message(max_bytes))
    try:
        return _write_member(reader, member, path)
    except Exception as error:
        path.unlink(missing_ok=True)
        if isinstance(error, ImageRejected) or _is_os_error(error):
            raise
        message = f"This member of the archive cannot be extracted ({error}). Create the archive again."
        raise ImageRejected("corrupt_archive", message) from error


def _write_member(reader: ArchiveReader, member: Member, path: Path) -> str:
    digest, remaining = hashlib.sha256(), member.size
    with reader.open(member) as source:
        chunk = source.read(HEAD_BYTES)
        if find_opener(chunk, member.name):
            message = "An archive inside an archive is not extracted. Add the images themselves."
            raise ImageRejected("nested_archive", message)
        identify(chunk)
        with path.open("wb") as target:
            while chunk and remaining >= 0:
                remaining -= len(chunk)
                digest.update(chunk)
                target.write(chunk)
                chunk = source.read(CHUNK_BYTES)
    if remaining:
        raise CorruptArchiveError("its size differs from the archive's directory")
    return digest.hexdigest()


def _is_os_error(error: Exception) -> bool:
    """Tells a real system error, such as a full disk, from an OSError that a reader raises for corrupt bytes."""
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


def _is_outside(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or bool(DRIVE.match(name))


def _is_junk(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(JUNK_FOLDERS.intersection(path.parts)) or path.name in JUNK_NAMES or path.name.startswith("._")
