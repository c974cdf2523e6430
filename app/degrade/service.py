"""Validates degrade requests and prepares their jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar

from app.datasets.schemas import Role
from app.degrade.crops import count_crops, split_into_crops
from app.degrade.schemas import DEGRADE_FIELDS_ADDED, DegradeRequest
from app.http.idempotency import describe_payload
from app.http.problems import ProblemError, not_found
from app.http.schemas import RejectedFile
from app.ingest.images import MinimumSide, describe_warnings, ingest_all, require_accepted
from app.ingest.multipart import ReceivedForm
from app.ingest.options import ReadOptions, Transparency
from app.inputs.service import check_source, get_files, take
from app.jobs.commit import NewJob
from app.jobs.output_names import assign_output_names
from app.jobs.schemas import Kind
from app.lookup import get_dataset_or_404, get_model_or_404, lock_dataset_or_404
from app.models.service import resolve_model
from config.settings import Settings
from store.db.database import Session
from store.db.tables import Image, Model
from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.samples import NewItem
from store.store import Store


@dataclass(frozen=True)
class DegradeSubmission:
    """Implements `app.jobs.submit.Submission`."""

    store: Store
    settings: Settings
    dataset_id: str
    schema: ClassVar[type[DegradeRequest]] = DegradeRequest

    @property
    def target(self) -> tuple[str, ...]:
        return Kind.degrade, self.dataset_id

    def describe(self, payload: DegradeRequest) -> dict[str, Any]:
        return describe_payload(payload, DEGRADE_FIELDS_ADDED)

    def precheck(self, session: Session) -> None:
        get_dataset_or_404(session, self.dataset_id)

    def validate(self, payload: DegradeRequest, form: ReceivedForm) -> Callable[[Session], NewJob]:
        self._check_fields(payload, has_files=bool(form.files))
        with self.store.database.read() as session:
            model = resolve_model(session, self.dataset_id, payload.model)
        _check_crop(payload, model.scale)
        files = self._get_files(payload, form, model.scale)
        images = [file for file in files if not isinstance(file, RejectedFile)]
        items = assign_output_names(files, archive=form.only_name)
        if payload.crop:
            sizes = {image.sha256: (image.height, image.width) for image in images}
            items = split_into_crops(items, sizes, payload.crop, payload.crop_step or payload.crop)
        parameters = payload.model_dump(mode="json", exclude={"model", "inputs"}, exclude_none=True)
        parameters |= {"scale": model.scale, "kernel_origin": model.kernel_origin, **describe_warnings(files)}
        return partial(self._prepare, payload, model, parameters, len(images), items)

    def _check_fields(self, payload: DegradeRequest, *, has_files: bool) -> None:
        if payload.samples > self.settings.max_samples:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "too_many_samples",
                f"At most {self.settings.max_samples} samples per image are allowed. Ask for fewer, or raise "
                "PATINA_MAX_SAMPLES.",
            )
        check_source(files=has_files, source=payload.source, inputs=payload.inputs)

    def _get_files(
        self, payload: DegradeRequest, form: ReceivedForm, scale: int
    ) -> Sequence[NewImage | RejectedFile | Image]:
        """Returns the source dataset's images, or ingests the files of the form."""
        check_item_limit = partial(self._check_item_limit, payload)
        minimum = _minimum_side(payload, scale)
        if payload.inputs is not None:
            files = get_files(self.store, payload.inputs, minimum, Transparency.crop)
            check_item_limit([(file.height, file.width) for file in files if isinstance(file, NewImage)])
            return files
        if payload.source is None:
            options = ReadOptions(frames=payload.frames, depth=payload.depth)
            files = ingest_all(
                form.files, form.folder, self.store, self.settings, minimum, check_item_limit, options=options
            )
            require_accepted(files)
            return files
        images = self._get_source_images(payload.source)
        check_item_limit([(image.height, image.width) for image in images])
        return images

    def _get_source_images(self, source_id: str) -> Sequence[Image]:
        with self.store.database.read() as session:
            source = get_dataset_or_404(session, source_id)
            if source.hr_images > self.settings.max_items:  # checked before the rows are read
                raise _too_many_items(source.hr_images, self.settings.max_items)
            images = DatasetRepository(session).list_images(source_id, role=Role.hr)
        if not images:
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "no_hr_images",
                f"The source dataset has no clean images. Add some: POST /datasets/{source_id}/images?role=hr.",
            )
        return images

    def _check_item_limit(self, payload: DegradeRequest, sizes: Sequence[tuple[int, int]]) -> None:
        count = count_crops(sizes, payload.crop, payload.crop_step or payload.crop) if payload.crop else len(sizes)
        if count > self.settings.max_items:
            raise _too_many_items(count, self.settings.max_items)

    def _prepare(
        self,
        payload: DegradeRequest,
        model: Model,
        parameters: dict[str, Any],
        num_images: int,
        items: Sequence[tuple[str, NewItem]],
        session: Session,
    ) -> NewJob:
        if payload.inputs is not None:
            take(session, payload.inputs)
        lock_dataset_or_404(session, self.dataset_id)
        get_model_or_404(session, model.id)  # it may have been deleted while the files arrived
        # The source keeps its images' blobs; a source that is being deleted may have lost some already.
        if payload.source is not None and lock_dataset_or_404(session, payload.source).hr_images < num_images:
            raise not_found("dataset", payload.source)
        return NewJob(
            Kind.degrade,
            dataset_id=self.dataset_id,
            model_id=model.id,
            parameters=parameters,
            unit="samples",
            total=len(items) * payload.samples,
            items=items,
        )


def _check_crop(payload: DegradeRequest, scale: int) -> None:
    if payload.crop and payload.crop % scale:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "crop_not_multiple_of_scale",
            f"The crop side {payload.crop} is not a multiple of the scale {scale}. Choose one that is.",
        )


def _too_many_items(count: int, limit: int) -> ProblemError:
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "too_many_items",
        f"The job would have {count:,} images or crops; at most {limit:,} are allowed. Send fewer images, use larger "
        "crops or a larger step, or raise PATINA_MAX_ITEMS.",
    )


def _minimum_side(payload: DegradeRequest, scale: int) -> MinimumSide:
    if payload.crop:
        return MinimumSide(payload.crop, f"a crop of {payload.crop}×{payload.crop}")
    return MinimumSide(scale, f"one low-resolution pixel at scale {scale}")
