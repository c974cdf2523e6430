# Generated from patina/client/_async/datasets.py by scripts/unasync.py; do not edit.
"""Datasets: upload photos, train on them, and submit jobs that use the trained model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from patina.client._sync.inputs import submit_photos
from patina.client._sync.jobs import Job, super_resolve
from patina.client._sync.resources import Record, Resource
from patina.client._sync.uploads import upload_files
from patina.client.http import drop_none
from patina.client.photo_files import find_photo_files
from patina.client.progress import OnUpload, progress_callback
from patina.schemas import Image, PhotoChecks, Upload


class Dataset(Record):
    """A dataset. Its fields are those of the last request; `refresh` updates them."""

    id: str
    name: str
    scale: int
    images: dict[str, int]  # number of real low-resolution (lr) and clean (hr) images
    shared: bool = False  # whether every token may use it
    models: list[str]  # ids, newest first
    created: datetime

    def upload(
        self,
        role: str,
        *paths: str | Path,
        frames: str | None = None,
        depth: str | None = None,
        progress: bool | OnUpload = False,
    ) -> Upload:
        """Uploads photos, folders of photos and archives as real low-resolution (`lr`) or clean (`hr`) images.

        Skips what the dataset already has. The same call therefore resumes an interrupted upload. Returns the accepted
        files, and the rejected ones with the service's reasons. Raises `ServiceError` if no file can be used.

        `frames` is first (the default) or all: the images of an animation or of a TIFF with pages. `depth` is refuse
        (the default) or scale: what becomes of more than 8 bits per channel.
        """
        fields = drop_none({"frames": frames, "depth": depth})
        files = find_photo_files(paths)
        with progress_callback(progress, "Photos", lambda tracker: tracker.show_count) as on_progress:
            return upload_files(self._connection, self.id, role, files, fields, on_progress)

    def photos(self, role: str | None = None, limit: int | None = None) -> list[Image]:
        """Lists its images, of one role or of both."""
        return self._connection.list_all(Image, f"/datasets/{self.id}/images", limit, role=role)

    def checks(self) -> PhotoChecks:
        """Returns what is wrong with its photos, as far as they were checked: soon after they arrived."""
        response = self._connection.request("GET", f"/datasets/{self.id}/checks")
        return PhotoChecks.model_validate(response.json())

    def train(
        self,
        /,
        *,
        preset: str | None = None,
        max_minutes: float | None = None,
        max_steps: int | None = None,
        seed: int | None = None,
        warm_start: str | None = None,
        **settings: Any,
    ) -> Job:
        """Submits a training. The service chooses the settings that are not given. `settings` are those of the API.

        `warm_start` is the id of a model whose networks the training starts from.
        """
        given = {"preset": preset, "max_minutes": max_minutes, "max_steps": max_steps, "seed": seed}
        payload = drop_none({**given, "warm_start": warm_start, **settings})
        response = self._connection.post_once(f"/datasets/{self.id}/train", lambda: {"json": payload})
        return Job.from_response(response, self._connection)

    def degrade(
        self,
        /,
        *paths: str | Path,
        source: str | None = None,
        source_from: int | None = None,
        source_to: int | None = None,
        model: str | None = None,
        samples: int = 1,
        seed: int | None = None,
        crop: int | None = None,
        crop_step: int | None = None,
        min_detail: float | None = None,
        leave_out: Sequence[str] = (),
        lr_format: str | None = None,
        jpeg: str | int | None = None,
        validation: float | None = None,
        frames: str | None = None,
        depth: str | None = None,
        store: str | None = None,
        priority: int | None = None,
        progress: bool | OnUpload = False,
    ) -> Job:
        """Submits a job that degrades the photos at `paths`, or the clean images of the dataset whose id is `source`.

        Of those, `source_from` and `source_to` choose a part: numbers in the order of arrival, from 0, without the
        last. `priority` is -10 to 10; jobs of a higher one start first, as far as the token allows.

        `samples` is the number of triplets of each image. `crop` is the side in pixels of the squares that each image
        is cut into first, and `crop_step` the distance between them. `min_detail` drops flat squares: it is the
        smallest mean difference of neighboring pixels, 0 to 255. `leave_out` is any of "kernel" and "noise".
        `lr_format` is png or webp. `jpeg` compresses after the learned degradation: a quality such as 75, or "60-95"
        to draw one for each sample. `validation` is the fraction of images in the validation split. `frames` and
        `depth` are as in `upload`. `store` is files (the default) or shards: about a thousand samples in one WebDataset
        tar, for which the job has `download_shards`.
        """
        fields = drop_none(
            {
                "samples": samples,
                "seed": seed,
                "model": model,
                "source": source,
                "source_from": source_from,
                "source_to": source_to,
                "priority": priority,
                "crop": crop,
                "crop_step": crop_step,
                "min_detail": min_detail,
                "leave_out": ",".join(leave_out) or None,
                "lr_format": lr_format,
                "jpeg": jpeg,
                "validation": validation,
                "frames": frames,
                "depth": depth,
                "store": store,
            }
        )
        path = f"/datasets/{self.id}/degrade"
        if source is None:
            response = submit_photos(self._connection, path, paths, fields, progress)
        else:
            response = self._connection.post_once(path, lambda: {"data": fields})
        return Job.from_response(response, self._connection)

    def sr(self, *paths: str | Path, tile: int | None = None, progress: bool | OnUpload = False, **options: Any) -> Job:
        """Submits a job that super-resolves photos with the network trained last for this dataset.

        `options` are those of the API: `format`, `quality`, `metadata`, `color`, `depth`, `frames`, `store` and
        `priority`.
        """
        return super_resolve(self._connection, paths, progress, dataset=self.id, tile=tile, **options)

    def share(self, shared: bool = True) -> Dataset:
        """Lets every token use it, or stops that."""
        return self._update_from(self._connection.request("PATCH", f"/datasets/{self.id}", json={"shared": shared}))

    def refresh(self) -> Dataset:
        return self._update_from(self._connection.request("GET", f"/datasets/{self.id}"))

    def delete(self) -> None:
        """Deletes it with its images, models and jobs."""
        self._connection.request("DELETE", f"/datasets/{self.id}")


class Datasets(Resource):
    def create(self, name: str, scale: int = 4) -> Dataset:
        """Creates a dataset. `scale` is the size of clean images relative to real photos: 1, 2, 3, 4 or 8."""
        payload = {"name": name, "scale": scale}
        response = self._connection.post_once("/datasets", lambda: {"json": payload})
        return Dataset.from_response(response, self._connection)

    def get(self, dataset: str) -> Dataset:
        return self._get(Dataset, f"/datasets/{dataset}")

    def list(self, limit: int | None = None) -> list[Dataset]:
        """Lists datasets, newest first."""
        return self._list(Dataset, "/datasets", limit)
