"""Files that have come with a request, and what is said of those that are too many or too large."""

from __future__ import annotations

import re
from concurrent.futures import Future
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from app.http.problems import ProblemError
from imaging.image_files import ImageSize

LONGEST_NAME = 255
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # controls, and what ends a line


@dataclass(frozen=True)
class ReceivedFile:
    """A file as the client named it, and where its bytes are now."""

    name: str
    path: Path
    sha256: str
    # Of what may be an image, if it is looked at already: its size, or the `ImageRefusedError`.
    looked_at: Future[ImageSize] | None = None


def too_many_files(limit: int) -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too_many_files",
        f"The request has more than {limit:,} files, the members of its archives counted. Send it in parts, or raise "
        "PATINA_MAX_FILES.",
    )


def too_large(limit: int) -> str:
    return f"The file has more than {limit:,} bytes; raise PATINA_MAX_FILE_BYTES to allow it."


def display_name(name: str) -> str:
    """A name fit to be stored and shown; it is never part of a path.

    Control characters, and halves of characters, become �; of a longer name the end is kept, with its suffix.
    """
    shown = UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", name)
    return shown if len(shown) <= LONGEST_NAME else "…" + shown[1 - LONGEST_NAME :]
