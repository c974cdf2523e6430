"""Submits jobs with any number of photos: a few in one request, thousands in parts that resume."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from patina.client import photo_files
from patina.client._async.concurrency import run_blocking, run_concurrently
from patina.client._async.connection import AsyncConnection
from patina.client._async.tus import send_resumable
from patina.client.photo_files import NamedFile, describe_batch, find_photo_files, multipart_files, split_batches
from patina.client.progress import OnUpload, progress_callback

CONCURRENCY = 4
# How images are read for results of this depth.
READ_DEPTHS = {"8": "scale", "16": "keep"}


async def submit_photos(
    connection: AsyncConnection,
    path: str,
    paths: Sequence[str | Path],
    fields: Mapping[str, Any],
    progress: bool | OnUpload,
) -> httpx.Response:
    """Posts the photos at `paths` with form fields, and returns the response with the job.

    More photos than fit in one request, and large ones, are sent in parts first. If that is interrupted, the
    same call resumes it.
    """
    files = await run_blocking(partial(find_photo_files, paths))
    batches = await run_blocking(partial(_to_batches, files))
    with progress_callback(progress, "Photos", lambda tracker: tracker.show_count) as on_progress:
        if len(batches) == 1 and not photo_files.is_large(batches[0][0][1]):
            return await connection.post_once(
                path, lambda: {"data": fields, "files": multipart_files(files, on_progress)}
            )
        key = _key_of(path, files, fields)
        inputs = await _send_parts(connection, key, batches, _to_part_fields(fields), on_progress)
    return await connection.post_once(path, lambda: {"data": {**fields, "inputs": inputs}})


async def _send_parts(
    connection: AsyncConnection,
    key: str,
    batches: Sequence[list[NamedFile]],
    fields: Mapping[str, Any],
    on_progress: OnUpload,
) -> str:
    """Sends each batch that the service does not have yet as a part. Returns the id of the inputs."""
    inputs = (await connection.request_with_retries("POST", "/inputs", json={"key": key})).json()
    present = {part["number"]: part["digest"] for part in inputs["parts"]}
    total, sent = sum(map(len, batches)), 0

    async def send(number: int, batch: list[NamedFile]) -> int:
        digest = await run_blocking(partial(describe_batch, batch))
        if present.get(number) != digest:
            # A retry is safe: a part replaces the one that has its number.
            part = f"/inputs/{inputs['id']}/parts/{number}"
            if photo_files.is_large(batch[0][1]):  # then it is alone in its batch
                await send_resumable(connection, f"{part}/uploads", batch[0], {**fields, "digest": digest})
            else:
                await connection.request_with_retries(
                    "PUT", part, params={"digest": digest}, data=fields, files=multipart_files(batch)
                )
        return len(batch)

    def count(files: int) -> None:
        nonlocal sent
        sent += files
        on_progress(sent, total)

    await run_concurrently([partial(send, *part) for part in enumerate(batches)], CONCURRENCY, count)
    return str(inputs["id"])


def _to_part_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the form fields of a part: how its images are read."""
    read = {name: fields[name] for name in ("frames", "depth") if name in fields}
    if "depth" in read:
        read["depth"] = READ_DEPTHS.get(str(read["depth"]), read["depth"])
    return read


def _to_batches(files: Sequence[NamedFile]) -> list[list[NamedFile]]:
    return list(split_batches(files))


def _key_of(path: str, files: Sequence[NamedFile], fields: Mapping[str, Any]) -> str:
    """Returns the same key for the same call on the same files, so that an interrupted call finds its parts."""
    named = [(name, str(file.absolute()), file.stat().st_size) for name, file in files]
    return hashlib.sha256(json.dumps([path, named, dict(fields)], sort_keys=True).encode()).hexdigest()
