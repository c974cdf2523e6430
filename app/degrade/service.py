"""Validates degrade requests and prepares their jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar

from app.datasets.schemas import Role
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
from store.crops import count_crops, split_into_crops
from store.db.database import Session
from store.db.tables import Image, Model
from store.repositories.datasets import NewImage
from store.repositories.expansion import Expansion, ExpansionRepository
from store.repositories.samples import NewItem
from store.store import Store

MAX_INLINE_ITEMS = 1000  # that a request records itself; it would hold up others with more


@dataclass(frozen=True)
class Source:
    """The images of a dataset that are degraded, and how many items they are: crops, or the images themselves."""

    images: Expansion
    items: int


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
        source = self._find_source(payload) if payload.source is not None else None
        parameters = payload.model_dump(mode="json", exclude={"model", "inputs", "priority"}, exclude_none=True)
        parameters |= {"scale": model.scale, "kernel_origin": model.kernel_origin}
        if source is not None and source.items > MAX_INLINE_ITEMS:
            return partial(self._prepare, payload, model, parameters, source, ())
        files = self._get_files(payload, form, model.scale, source)
        images = [file for file in files if not isinstance(file, RejectedFile)]
        items = assign_output_names(files, archive=form.only_name)
        if payload.crop:
            sizes = {image.sha256: (image.height, image.width) for image in images}
            items = split_into_crops(items, sizes, payload.crop, payload.crop_step or payload.crop)
        return partial(self._prepare, payload, model, parameters | describe_warnings(files), source, items)

    def _check_fields(self, payload: DegradeRequest, *, has_files: bool) -> None:
        if payload.samples > self.settings.max_samples:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "too_many_samples",
                f"At most {self.settings.max_samples} samples per image are allowed. Ask for fewer, or raise "
                "PATINA_MAX_SAMPLES.",
            )
        check_source(files=has_files, source=payload.source, inputs=payload.inputs)
        has_range = payload.source_from is not None or payload.source_to is not None
        if has_range and payload.source is None:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "range_without_source",
                "`source_from` and `source_to` choose images of a dataset. Name it as `source`, or omit them.",
            )

    def _get_files(
        self, payload: DegradeRequest, form: ReceivedForm, scale: int, source: Source | None
    ) -> Sequence[NewImage | RejectedFile | Image]:
        """Returns the source dataset's images, or ingests the files of the form."""
        if source is not None:
            with self.store.database.read() as session:
                return ExpansionRepository(session).list_records(source.images)
        check_item_limit = partial(self._check_item_limit, payload)
        minimum = _minimum_side(payload, scale)
        if payload.inputs is not None:
            files = get_files(self.store, payload.inputs, minimum, Transparency.crop)
            check_item_limit([(file.height, file.width) for file in files if isinstance(file, NewImage)])
            return files
        options = ReadOptions(frames=payload.frames, depth=payload.depth)
        files = ingest_all(
            form.files, form.folder, self.store, self.settings, minimum, check_item_limit, options=options
        )
        require_accepted(files)
        return files

    def _find_source(self, payload: DegradeRequest) -> Source:
        """Returns which images of the source dataset are degraded. Reads none of them, there may be millions."""
        source_id = payload.source or ""
        start, stop = payload.source_from or 0, payload.source_to
        with self.store.database.read() as session:
            count = get_dataset_or_404(session, source_id).hr_images
            expansions = ExpansionRepository(session)
            images = expansions.find(source_id, Role.hr, start, stop)
            if images is None:
                raise _no_images(source_id, count, start, stop)
            crop = payload.crop
            items = expansions.count_items(images, crop, payload.crop_step or crop) if crop else images.count
        if items > self.settings.max_items:
            raise _too_many_items(items, self.settings.max_items)
        return Source(images, items)

    def _check_item_limit(self, payload: DegradeRequest, sizes: Sequence[tuple[int, int]]) -> None:
        count = count_crops(sizes, payload.crop, payload.crop_step or payload.crop) if payload.crop else len(sizes)
        if count > self.settings.max_items:
            raise _too_many_items(count, self.settings.max_items)

    def _prepare(
        self,
        payload: DegradeRequest,
        model: Model,
        parameters: dict[str, Any],
        source: Source | None,
        items: Sequence[tuple[str, NewItem]],
        session: Session,
    ) -> NewJob:
        if payload.inputs is not None:
            take(session, payload.inputs)
        lock_dataset_or_404(session, self.dataset_id)
        get_model_or_404(session, model.id)  # it may have been deleted while the files arrived
        # The source keeps its images' blobs; a source that is being deleted may have lost some already.
        if source is not None:
            dataset = lock_dataset_or_404(session, source.images.dataset)
            if dataset.hr_images < source.images.count:
                raise not_found("dataset", dataset.id)
        large = source if source is not None and not items else None
        return NewJob(
            Kind.degrade,
            dataset_id=self.dataset_id,
            model_id=model.id,
            parameters=parameters,
            unit="samples",
            total=(large.items if large else len(items)) * payload.samples,
            items=items,
            expansion=large.images if large else None,
            priority=payload.priority,
        )


def _check_crop(payload: DegradeRequest, scale: int) -> None:
    if payload.crop and payload.crop % scale:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "crop_not_multiple_of_scale",
            f"The crop side {payload.crop} is not a multiple of the scale {scale}. Choose one that is.",
        )


def _no_images(dataset_id: str, count: int, start: int, stop: int | None) -> ProblemError:
    if count == 0:
        return ProblemError(
            HTTPStatus.CONFLICT,
            "no_hr_images",
            f"The source dataset has no clean images. Add some: POST /datasets/{dataset_id}/images?role=hr.",
        )
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "empty_source_range",
        f"The source dataset has {count:,} clean images, numbered from 0; none is from {start} to before "
        f"{stop or count}. Correct `source_from` or `source_to`.",
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
