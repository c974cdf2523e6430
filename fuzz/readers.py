"""The readers of what strangers send, each as a function of bytes that raises nothing that it is not meant to."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import save

from app.http.problems import ProblemError
from app.ingest.archives import ArchiveRejectedError, ExtractionBudget, detect_archive, extract
from app.ingest.files import ReceivedFile
from config.settings import Settings
from imaging.image_files import ImageRejected, check_image, read_rgb
from models.checkpoint import CheckpointError, load_degradation, load_edsr
from store.files.quota import StorageQuota

MEBIBYTE = 2**20
# Small, so that what goes beyond them is seen: the fuzzer is given little memory and time.
LIMITS = Settings(max_archive_members=200, max_files=200, max_archive_bytes=MEBIBYTE, max_file_bytes=MEBIBYTE)
MOST_PIXELS = 250_000


def read_archive(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "archive"
        path.write_bytes(data)
        (folder / "into").mkdir()
        file = ReceivedFile("a.tar", path, "")
        opener = detect_archive(file)
        if opener is None:
            return
        budget = ExtractionBudget(LIMITS.max_files, LIMITS.max_archive_bytes, StorageQuota([folder], None, 0))
        given = set()
        try:
            for member in extract(file, opener, folder / "into", LIMITS, budget):
                member.name.encode()
                if isinstance(member, ReceivedFile):
                    given.add(member.path)
        except (ArchiveRejectedError, ProblemError):
            pass
        assert set((folder / "into").iterdir()) == given, "something was left behind"
        assert {path.name for path in folder.iterdir()} == {"archive", "into"}, "something was written elsewhere"
        assert sum(path.stat().st_size for path in given) <= LIMITS.max_archive_bytes


def read_image(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        path = Path(file.name)
        try:
            size = check_image(path, max_pixels=MOST_PIXELS)
            pixels = read_rgb(path)
        except ImageRejected:
            return
        assert pixels.shape == (size.height, size.width, 3)


def read_checkpoint(data: bytes) -> None:
    """The file as it is; and a whole file that says this of itself, for a fuzzer seldom leaves one whole."""
    described = save({"a": torch.zeros(1)}, metadata={"patina": data.decode(errors="replace")})
    for content in (data, described):
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            for load in (load_degradation, load_edsr):
                with suppress(CheckpointError):
                    load(Path(file.name))


READERS: dict[str, Callable[[bytes], None]] = {
    "archive": read_archive,
    "image": read_image,
    "checkpoint": read_checkpoint,
}
