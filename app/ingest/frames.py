"""Extracts the frames of an animation, or the pages of a TIFF, as files of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from app.ingest.archives import ArchiveRejectedError, ExtractionBudget
from app.ingest.files import ReceivedFile, display_name
from config.settings import Settings
from imaging.decoder_pool import DecoderPool
from imaging.rejections import ImageRejected


def extract_frames(
    file: ReceivedFile, decoders: DecoderPool, folder: Path, budget: ExtractionBudget, settings: Settings
) -> Iterator[ReceivedFile]:
    """Yields each frame as a PNG in `folder`, named `NAME.0001.png` and so on.

    Raises `ImageRejected` for a damaged frame. Raises `ProblemError` for more files than a request may have, and if the
    storage is full.
    """
    stem = file.name.rpartition(".")[0] or file.name
    number = 0
    while frames := decoders.read_frames(file.path, number):
        for png in frames:
            number += 1
            try:
                budget.take(settings, files=1 if number > 1 else 0, size=len(png))
            except ArchiveRejectedError as error:
                raise ImageRejected(error.code, error.message) from error
            path = folder / f"{file.path.name}-frame-{number}"
            path.write_bytes(png)
            yield ReceivedFile(display_name(f"{stem}.{number:04}.png"), path, hashlib.sha256(png).hexdigest())
