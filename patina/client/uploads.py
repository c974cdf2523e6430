"""Sending photos: several requests at once, taken up where an interrupted one stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from rich.console import Console

from patina.client.flow import Ask, Flow, Together, Work
from patina.client.http import asked_again, paged
from patina.client.photo_files import BATCH_BYTES, LazyFile, NamedFile, batches
from patina.client.progress import tracking
from patina.client.schemas import AcceptedFile, RejectedFile, Upload
from patina.client.tus import send_in_parts
from patina.errors import ServiceError

OnUpload = Callable[[int, int], None]  # (files sent, files in all)

AT_ONCE = 4
PAGE = 1000  # as many as the service gives at once


def upload(dataset: str, role: str, files: Sequence[NamedFile], tell: OnUpload) -> Flow[Upload]:
    """Sends what the dataset does not hold yet. Raises the service's refusal if it can use none of all."""
    images = f"/datasets/{dataset}/images"
    held = {image.sha256 for image in (yield from paged(AcceptedFile, images, None, PAGE, role=role))}
    new: Sequence[NamedFile] = files
    if held:
        new = yield Work(lambda: [file for file in files if _sha256(file) not in held])
    accepted: list[AcceptedFile] = []
    rejected: list[RejectedFile] = []
    refusals: list[ServiceError] = []
    sent = len(files) - len(new)
    tell(sent, len(files))

    def on_done(done: tuple[int, Upload | ServiceError]) -> None:
        nonlocal sent
        number, answer = done
        sent += number
        if isinstance(answer, ServiceError):
            refusals.append(answer)
            rejected.extend(RejectedFile.model_validate(file) for file in answer.problem["rejected"])
        else:
            accepted.extend(answer.accepted)
            rejected.extend(answer.rejected)
        tell(sent, len(files))

    yield Together([_send(dataset, role, batch) for batch in batches(new)], AT_ONCE, on_done)
    if refusals and not (accepted or held):
        raise refusals[0]
    return Upload(accepted=accepted, rejected=rejected, present=len(files) - len(new))


def _send(dataset: str, role: str, batch: list[NamedFile]) -> Flow[tuple[int, Upload | ServiceError]]:
    """The number of its files with the answer, or with the refusal of every one of them."""
    try:
        if sum(path.stat().st_size for _, path in batch) > BATCH_BYTES:  # then it is one file
            return len(batch), (yield from send_in_parts(dataset, role, batch[0]))
        # Sending again is harmless: the same bytes twice are one image.
        form = {"params": {"role": role}, "files": as_parts(batch)}
        answer = yield from asked_again(Ask("POST", f"/datasets/{dataset}/images", form))
        return len(batch), Upload.model_validate_json(answer.content)
    except ServiceError as error:
        if "rejected" not in error.problem:
            raise
        return len(batch), error


def _sha256(file: NamedFile) -> str:
    with file[1].open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def as_parts(files: Sequence[NamedFile], tell: OnUpload | None = None) -> list[tuple[str, tuple[str, Any]]]:
    """Parts of a form; `tell` hears of each file that is sent."""
    sent = count(1)

    def on_sent() -> None:
        if tell:
            tell(next(sent), len(files))

    return [("files", (name, LazyFile(path, on_sent))) for name, path in files]


@contextmanager
def told_to(progress: bool | OnUpload, title: str) -> Iterator[OnUpload]:
    if callable(progress):
        yield progress
    elif progress:
        with tracking(Console(stderr=True), title) as tracker:
            yield tracker.count
    else:
        yield lambda _, __: None
