"""Readers of untrusted files, each a function of bytes that raises only unexpected errors."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import av
import torch
from safetensors.torch import save

from app.http.problems import ProblemError
from app.ingest.archives import ArchiveRejectedError, ExtractionBudget, detect_archive, extract
from app.ingest.files import ReceivedFile
from config.settings import Settings
from imaging.image_files import check_image, read_frames, read_picture, read_rgb
from imaging.rejections import ImageRejected
from imaging.video.info import VideoInfo
from imaging.video.process import VideoRequests
from models.checkpoint import CheckpointError, load_degradation, load_edsr
from store.files.quota import StorageQuota

MEBIBYTE = 2**20
# Small limits: the fuzzer has little memory and time, and must see what exceeds them.
LIMITS = Settings(max_archive_members=200, max_files=200, max_archive_bytes=MEBIBYTE, max_file_bytes=MEBIBYTE)
MAX_PIXELS = 250_000


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
        extracted = set()
        try:
            for member in extract(file, opener, folder / "into", LIMITS, budget):
                member.name.encode()
                if isinstance(member, ReceivedFile):
                    extracted.add(member.path)
        except (ArchiveRejectedError, ProblemError):
            pass
        assert set((folder / "into").iterdir()) == extracted, "a rejected member left a file"
        assert {path.name for path in folder.iterdir()} == {"archive", "into"}, "a file was written elsewhere"
        assert sum(path.stat().st_size for path in extracted) <= LIMITS.max_archive_bytes


def read_image(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        path = Path(file.name)
        try:
            check = check_image(path, max_pixels=MAX_PIXELS)
            whole = read_picture(path, deep=True).rgb
            read_frames(path, 0, lambda _: False, max_pixels=MAX_PIXELS)
            opaque = read_rgb(path)
        except ImageRejected:
            return
        assert whole.shape == (check.size.height, check.size.width, 3)
        assert check.opaque is not None
        assert opaque.shape == (*check.opaque[2:], 3)


def read_checkpoint(data: bytes) -> None:
    """Reads the data as a file, and as the metadata of a valid file, because mutations seldom keep a file valid."""
    with_metadata = save({"a": torch.zeros(1)}, metadata={"patina": data.decode(errors="replace")})
    for content in (data, with_metadata):
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            for load in (load_degradation, load_edsr):
                with suppress(CheckpointError):
                    load(Path(file.name))


def read_video(data: bytes) -> None:
    """Decodes in this process, as the decoder process does, so that a crash of FFmpeg is seen."""
    requests = VideoRequests(MAX_PIXELS)
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            info = VideoInfo.from_json(requests.handle({"command": "open"}, file)[0])
            for command in ({"command": "look"}, {"command": "seek", "stamp": 1}, {"command": "look"}):
                answer, _ = requests.handle({**command, "count": 4, "measure": True}, file)
                if answer.get("frames"):
                    shape, pixels = requests.handle({"command": "take", "index": 0, "field": None}, file)
                    assert pixels is not None
                    os.close(pixels)
                    assert shape["shape"][2] == 3
                    assert info.bits in range(1, 33)
        except (ImageRejected, av.FFmpegError, ValueError, OSError):  # which the process answers as damage
            return


READERS: dict[str, Callable[[bytes], None]] = {
    "archive": read_archive,
    "image": read_image,
    "checkpoint": read_checkpoint,
    "video": read_video,
}
