# Generated from patina/client/_async/uploads.py by scripts/unasync.py; do not edit.
"""Uploads photos to a dataset: several requests at a time, without those that it already has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from patina.client import photo_files
from patina.client._sync.concurrency import run_blocking, run_concurrently
from patina.client._sync.connection import Connection
from patina.client._sync.tus import send_resumable
from patina.client.photo_files import NamedFile, multipart_files, split_batches
from patina.client.progress import OnUpload
from patina.errors import ServiceError
from patina.schemas import AcceptedFile, FileWarning, RejectedFile, Upload

CONCURRENCY = 4
PAGE_SIZE = 1000  # the service's maximum


def upload_files(
    connection: Connection,
    dataset: str,
    role: str,
    files: Sequence[NamedFile],
    fields: Mapping[str, str],
    on_progress: OnUpload,
) -> Upload:
    """Sends the files that the dataset does not have yet. Raises `ServiceError` if it can use none of them."""
    path = f"/datasets/{dataset}/images"
    images = connection.list_all(AcceptedFile, path, None, page_size=PAGE_SIZE, role=role)
    present = {image.sha256 for image in images}
    new = run_blocking(partial(photo_files.exclude_present, files, present))
    accepted: list[AcceptedFile] = []
    rejected: list[RejectedFile] = []
    warnings: list[FileWarning] = []
    refusals: list[ServiceError] = []
    sent = len(files) - len(new)
    on_progress(sent, len(files))

    def collect(outcome: tuple[int, Upload | ServiceError]) -> None:
        nonlocal sent
        count, result = outcome
        sent += count
        if isinstance(result, ServiceError):
            refusals.append(result)
            rejected.extend(RejectedFile.model_validate(file) for file in result.problem["rejected"])
        else:
            accepted.extend(result.accepted)
            rejected.extend(result.rejected)
            warnings.extend(result.warnings)
        on_progress(sent, len(files))

    calls = [partial(_send_batch, connection, dataset, role, fields, batch) for batch in split_batches(new)]
    run_concurrently(calls, CONCURRENCY, collect)
    if refusals and not (accepted or present):
        raise refusals[0]
    return Upload(accepted=accepted, rejected=rejected, warnings=warnings, already_present=len(files) - len(new))


def _send_batch(
    connection: Connection, dataset: str, role: str, fields: Mapping[str, str], batch: list[NamedFile]
) -> tuple[int, Upload | ServiceError]:
    """Returns the number of files, and the result, or the error if the service rejected all of them."""
    try:
        if photo_files.is_large(batch[0][1]):  # then it is alone in its batch
            outcome = send_resumable(connection, f"/datasets/{dataset}/uploads", batch[0], fields, role=role)
            return len(batch), Upload.model_validate(outcome["result"])
        # A retry is safe: the service stores the same bytes once.
        response = connection.request_with_retries(
            "POST", f"/datasets/{dataset}/images", params={"role": role}, data=fields, files=multipart_files(batch)
        )
        return len(batch), Upload.model_validate_json(response.content)
    except ServiceError as error:
        if "rejected" not in error.problem:
            raise
        return len(batch), error
