"""Inputs service: collects the files of one job, part by part, until the job takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from app.http.problems import ProblemError, not_found
from app.http.schemas import RejectedFile
from app.ingest.fields import parse_fields
from app.ingest.files import ReceivedFile, too_many_files
from app.ingest.images import MinimumSide, check_side, ingest_all, require_accepted
from app.ingest.multipart import ReceivedForm
from app.ingest.options import ReadOptions, Transparency
from app.ingest.policy import crop_to_opaque
from app.inputs.schemas import InputPart, InputsRead, PartRead
from config.settings import Settings
from imaging.image_info import ImageSize
from imaging.rejections import ImageRejected
from store.db.database import Session
from store.db.tables import Inputs
from store.repositories.datasets import NewImage
from store.repositories.inputs import InputsRepository
from store.store import Store

ANY_SIDE = MinimumSide(1, "any job")


def create(store: Store, settings: Settings, key: str | None) -> tuple[InputsRead, bool]:
    """Returns the caller's inputs with this key, or new ones, and whether they are new."""
    with store.database.write() as session:
        repository = InputsRepository(session)
        existing = repository.find(key) if key is not None else None
        inputs = existing or repository.create(key, settings.upload_seconds)
        return _to_read(session, inputs), existing is None


def read(store: Store, inputs_id: str) -> InputsRead:
    """Raises `ProblemError` (404) if there are no such inputs."""
    with store.database.read() as session:
        return _to_read(session, get_or_404(session, inputs_id))


@dataclass(frozen=True)
class Part:
    """A part of inputs, and the text that identifies its content."""

    inputs_id: str
    number: int
    digest: str | None


def put_part(store: Store, settings: Settings, part: Part, form: ReceivedForm) -> PartRead:
    """Ingests the files of a part. Rejected ones are kept as such. Raises `ProblemError`."""
    if not form.files:
        require_accepted([])
    options = parse_fields(ReadOptions, form.fields)
    return put_files(store, settings, part, form.files, form.folder, options)


def put_files(
    store: Store,
    settings: Settings,
    part: Part,
    received: Sequence[ReceivedFile],
    folder: Path,
    options: ReadOptions,
    record: Callable[[Session, PartRead], None] = lambda *_: None,
) -> PartRead:
    """Ingests the files, which are in `folder`, as a part. `record` is called in the transaction that keeps them."""
    # Whether a job will leave transparent parts out is not known yet.
    files = ingest_all(received, folder, store, settings, ANY_SIDE, options=options, transparency=Transparency.keep)
    rejected = [file for file in files if isinstance(file, RejectedFile)]
    records = [_to_record(file) for file in files]
    response = PartRead(number=part.number, digest=part.digest, files=len(files), rejected=rejected)
    with store.database.write() as session:
        get_or_404(session, part.inputs_id)
        repository = InputsRepository(session)
        repository.put_part(part.inputs_id, part.number, part.digest, records)
        repository.prolong(part.inputs_id, settings.upload_seconds)
        if sum(each.num_files for each in repository.list_parts(part.inputs_id)) > settings.max_files:
            raise too_many_files(settings.max_files)
        record(session, response)
    return response


def prolong(session: Session, settings: Settings, inputs_id: str) -> None:
    """Keeps the inputs while a part is being uploaded. Raises `ProblemError` (404) if there are none."""
    get_or_404(session, inputs_id)
    InputsRepository(session).prolong(inputs_id, settings.upload_seconds)


def delete(store: Store, inputs_id: str) -> None:
    """Raises `ProblemError` (404) if there are no such inputs."""
    with store.database.write() as session:
        get_or_404(session, inputs_id)
        InputsRepository(session).delete(inputs_id)


def get_files(
    store: Store, inputs_id: str, minimum: MinimumSide, transparency: Transparency = Transparency.keep
) -> list[NewImage | RejectedFile]:
    """Returns all files, in the order of the parts. Images that are too small are rejected.

    Raises `ProblemError` if there are no such inputs, or if none of the files is an image that can be used.
    """
    with store.database.read() as session:
        get_or_404(session, inputs_id)
        records = [record for part in InputsRepository(session).list_files(inputs_id) for record in part]
    files = [_from_record(record, minimum, transparency) for record in records]
    require_accepted(files)
    return files


def take(session: Session, inputs_id: str) -> None:
    """Deletes the inputs, in the transaction that records their files as items of a job.

    Raises `ProblemError` (409) if another job has taken them meanwhile.
    """
    if not InputsRepository(session).delete(inputs_id):
        raise ProblemError(
            HTTPStatus.CONFLICT, "inputs_taken", "Another job has taken these inputs. Create new ones: POST /inputs."
        )


def check_source(*, files: bool, **others: str | None) -> None:
    """Raises `ProblemError` (422) if a request has files and inputs, or other sources of images, at the same time."""
    named = [name for name, value in others.items() if value is not None]
    if len(named) + files > 1:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "files_and_source",
            f"Send either files or {' or '.join(others)}, not several of them.",
        )


def get_or_404(session: Session, inputs_id: str) -> Inputs:
    inputs = InputsRepository(session).get(inputs_id)
    if inputs is None:
        raise not_found("inputs", inputs_id)
    return inputs


def _to_read(session: Session, inputs: Inputs) -> InputsRead:
    parts = [
        InputPart(number=part.number, digest=part.digest, files=part.num_files)
        for part in InputsRepository(session).list_parts(inputs.id)
    ]
    files = sum(part.files for part in parts)
    created, expires = inputs.created_at, inputs.expires_at
    return InputsRead.model_validate(
        {"id": inputs.id, "parts": parts, "files": files, "created": created, "expires": expires}
    )


def _to_record(file: NewImage | RejectedFile) -> dict[str, Any]:
    return file.model_dump() if isinstance(file, RejectedFile) else asdict(file)


def _from_record(record: dict[str, Any], minimum: MinimumSide, transparency: Transparency) -> NewImage | RejectedFile:
    if "sha256" not in record:
        return RejectedFile.model_validate(record)
    image = NewImage(**record)
    try:
        if transparency is Transparency.crop:
            size = crop_to_opaque(ImageSize(image.width, image.height), image.opaque)
            image = replace(image, width=size.width, height=size.height)
        check_side(image.width, image.height, minimum)
    except ImageRejected as error:
        return RejectedFile(name=image.name, code=error.code, message=error.message)
    return image
