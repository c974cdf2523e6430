"""Datasets: filling them, learning from them, and the work that is done with what was learned."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from patina.client.flow import Ask, Flavour, Flow, flow
from patina.client.http import Answer, Noun, asked, given, listed, made, paged
from patina.client.jobs import Job, super_resolve
from patina.client.photo_files import photo_files
from patina.client.schemas import Image, Upload
from patina.client.uploads import OnUpload, as_parts, told_to, upload


class Dataset(Answer[Flavour]):
    id: str
    name: str
    scale: int
    images: dict[str, int]  # how many real low-resolution (lr) and clean (hr) ones it held when it was asked for
    shared: bool = False  # whether every token sees and uses it
    models: list[str]  # ids, the newest first
    created: datetime

    @flow
    def upload(self, role: str, *paths: str | Path, progress: bool | OnUpload = False) -> Flow[Upload]:
        """Adds photos, folders of photos and archives, as real low-resolution (`lr`) or clean ones (`hr`).

        What the dataset holds already is not sent again, so that an upload that broke off is taken up by the same
        call. Gives what was taken and what was refused, with the service's reasons.
        """
        files = photo_files(map(Path, paths))
        with told_to(progress, "Photos") as tell:
            return (yield from upload(self.id, role, files, tell))

    @flow
    def photos(self, role: str | None = None, limit: int | None = None) -> Flow[list[Image]]:
        """Those that it holds, of one role or of both."""
        return (yield from paged(Image, f"/datasets/{self.id}/images", limit, role=role))

    @flow
    def train(
        self,
        /,
        *,
        preset: str | None = None,
        max_minutes: float | None = None,
        max_steps: int | None = None,
        seed: int | None = None,
        **settings: Any,
    ) -> Flow[Job[Flavour]]:
        """Learns the degradation; what is not given is left to the service. Other settings as in the API."""
        wanted = {"preset": preset, "max_minutes": max_minutes, "max_steps": max_steps, "seed": seed, **settings}
        return (yield from made(self, Job, f"/datasets/{self.id}/train", lambda: {"json": given(wanted)}))

    @flow
    def degrade(
        self,
        /,
        *paths: str | Path,
        source: str | None = None,
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
        progress: bool | OnUpload = False,
    ) -> Flow[Job[Flavour]]:
        """Triplets of the photos at `paths`; or of the clean photos of the dataset whose id is `source`.

        `crop` cuts them into squares of so many pixels first, `crop_step` apart; `min_detail` leaves out what is
        flatter (mean difference of neighbouring pixels, of 255); `leave_out` is of "kernel" and "noise"; `lr_format` is
        png or webp; `jpeg` the quality of a compression after the learned degradation, 75, or "60-95" to draw one for
        each sample; `validation` the fraction of photos that is set apart.
        """
        fields = given(
            {
                "samples": samples,
                "seed": seed,
                "model": model,
                "source": source,
                "crop": crop,
                "crop_step": crop_step,
                "min_detail": min_detail,
                "leave_out": ",".join(leave_out) or None,
                "lr_format": lr_format,
                "jpeg": jpeg,
                "validation": validation,
            }
        )
        with told_to(progress, "Photos") as tell:
            files = photo_files(map(Path, paths)) if source is None else []
            request = lambda: {"data": fields, "files": as_parts(files, tell) or None}  # noqa: E731
            return (yield from made(self, Job, f"/datasets/{self.id}/degrade", request))

    @flow
    def sr(self, *paths: str | Path, tile: int | None = None, progress: bool | OnUpload = False) -> Flow[Job[Flavour]]:
        """Super-resolves photos with the network that was trained last for this dataset."""
        return (yield from super_resolve(self, paths, progress, dataset=self.id, tile=tile))

    @flow
    def share(self, shared: bool = True) -> Flow[Dataset[Flavour]]:
        """Lets every token see and use it, or no longer."""
        return (yield from self._told("PATCH", json={"shared": shared}))

    @flow
    def refresh(self) -> Flow[Dataset[Flavour]]:
        return (yield from self._told("GET"))

    @flow
    def delete(self) -> Flow[None]:
        """With its images, models and jobs."""
        yield Ask("DELETE", f"/datasets/{self.id}")

    def _told(self, method: str, **request: Any) -> Flow[Dataset[Flavour]]:
        answer = yield Ask(method, f"/datasets/{self.id}", request)
        self._become(type(self).model_validate_json(answer.content))
        return self


class Datasets(Noun[Flavour]):
    @flow
    def create(self, name: str, scale: int = 4) -> Flow[Dataset[Flavour]]:
        """`scale`: how many times smaller the real photos are than the images that are wanted; 2, 3 or 4."""
        return (yield from made(self, Dataset, "/datasets", lambda: {"json": {"name": name, "scale": scale}}))

    @flow
    def get(self, dataset: str) -> Flow[Dataset[Flavour]]:
        return (yield from asked(self, Dataset, "GET", f"/datasets/{dataset}"))

    @flow
    def list(self, limit: int | None = None) -> Flow[list[Dataset[Flavour]]]:
        """The newest first."""
        return (yield from listed(self, Dataset, "/datasets", limit))
