"""Files of a request, and the errors for files that are too many or too large."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from app.http.problems import ProblemError
from imaging.image_info import ImageCheck

MAX_NAME_CHARS = 1000  # a path may have many folders
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # controls, line ends, lone surrogates


@dataclass(frozen=True)
class ReceivedFile:
    """A file with the client's name for it, and the path of its bytes."""

    name: str
    path: Path
    sha256: str
    # Set if validation has started already: gives what is known of the image, or raises `ImageRejected`.
    validation: Future[ImageCheck] | None = None


def describe_files(files: Sequence[ReceivedFile]) -> list[tuple[str, str]]:
    """Returns (name, SHA-256) of each file, for the digest of an idempotent request."""
    return [(file.name, file.sha256) for file in files]


def too_many_files(limit: int) -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too_many_files",
        f"The request has more than {limit:,} files, including members of its archives. Send it in parts, or raise "
        "PATINA_MAX_FILES.",
    )


def file_too_large_message(limit: int) -> str:
    return f"The file exceeds {limit:,} bytes. Raise PATINA_MAX_FILE_BYTES to allow it."


def display_name(name: str) -> str:
    """Returns a name that can be stored and shown; it is never part of a path.

    Control characters and lone surrogates become �. A name that is too long keeps its end, with the suffix.
    """
    printable = UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", name)
    return printable if len(printable) <= MAX_NAME_CHARS else "…" + printable[1 - MAX_NAME_CHARS :]
