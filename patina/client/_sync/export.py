# Generated from patina/client/_async/export.py by scripts/unasync.py; do not edit.
"""Downloads a finished degrade job and writes its pairs in one of the export formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from patina.client._sync.connection import Connection
from patina.errors import PatinaError, ServiceError
from patina.export.dataset_card import render_dataset_card
from patina.export.formats import FORMATS, ExportFormat, write_pairs
from patina.schemas import Report

SPLITS = ("train", "validation")


def export_job(
    connection: Connection,
    job: Mapping[str, Any],
    folder: Path,
    format: str,
    *,
    validation: float | None,
    shard_size: int,
    on_pair: Callable[[int], None],
) -> dict[str | None, int]:
    """Returns the number of pairs of each split, under None if there is no split."""
    if format not in list(ExportFormat):
        raise PatinaError(f"There is no format {format!r}. Choose one of {', '.join(ExportFormat)}.")
    file_format = ExportFormat(format)
    spec = FORMATS[file_format]
    folder.mkdir(parents=True, exist_ok=True)
    archive = f"/jobs/{job['id']}/archive"
    params: dict[str, Any] = {"hr": "true"} | ({} if validation is None else {"validation": validation})
    if spec.is_archive:
        connection.download(archive, folder / f"{job['id']}.{file_format}", params=params | {"format": file_format})
        return {None: job["counts"]["ok"]}
    params["format"] = ExportFormat.webdataset
    if spec.create_writer is None:
        splits: tuple[str | None, ...] = SPLITS if validation or job["parameters"].get("validation") else (None,)
        counts: dict[str | None, int] = {}
        for split in splits:
            counts[split] = _download_shards(connection, archive, folder, params, split, shard_size)
            on_pair(sum(counts.values()))
    else:
        if spec.leave_out:
            params["leave_out"] = spec.leave_out
        consumer = partial(write_pairs, folder=folder, file_format=file_format, shard_size=shard_size, on_pair=on_pair)
        counts = connection.consume(archive, consumer, params=params)
    model = (connection.request("GET", f"/models/{job['model']}")).json()
    report = _get_report(connection, model["id"])
    (folder / "README.md").write_text(
        render_dataset_card(folder.name, file_format, counts, job, model["scale"], report)
    )
    return counts


def _download_shards(
    connection: Connection, archive: str, folder: Path, params: Mapping[str, Any], split: str | None, size: int
) -> int:
    """Downloads `SPLIT-000000.tar` and so on. Returns the number of samples in them."""
    name = split or "train"
    shard, shards, samples = 0, 1, 0
    while shard < shards:
        query = {**params, "shard_size": size, "shard": shard}
        if split:
            query["split"] = split
        target = folder / f"{name}-{shard:06}.tar"
        headers = connection.download(archive, target, params=query)
        if shard == 0:  # delete the shards of an earlier export, which readers would mix with these
            for old in set(folder.glob(f"{name}-{'[0-9]' * 6}.tar")) - {target}:
                old.unlink()
        shards, samples, shard = int(headers["Patina-Shards"]), int(headers["Patina-Samples"]), shard + 1
    return samples


def _get_report(connection: Connection, model: str) -> Report | None:
    try:
        response = connection.request("GET", f"/models/{model}/report")
    except ServiceError as error:
        if error.code == "no_report":
            return None
        raise
    return Report.model_validate_json(response.content)
